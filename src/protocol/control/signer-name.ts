/** The name of a signer in refs. `fingerprint` is that of its receipt key, as OpenSSH writes it: `SHA256:…`. */
export const signerName = (fingerprint: string): string =>
  Buffer.from(fingerprint.replace(/^SHA256:/, ''), 'base64')
    .toString('hex')
    .slice(0, 16);
