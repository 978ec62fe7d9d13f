import { usage } from '../../../lib/errors.ts';

/** The program that `exec:PROGRAM` names: everything after the colon, as it is. */
export const programOf = (uri: string): string => uri.slice(uri.indexOf(':') + 1);

/** Throws `key-command-uri` or `key-missing` (usage) for an `exec:` URI that names no program, or has no certificate. */
export function checkExecUri(uri: string, certificate: string | undefined): void {
  if (programOf(uri).trim() === '' || uri.includes('\0'))
    throw usage('key-command-uri', `${JSON.stringify(uri)}: names no program`, {
      hint: 'write exec:PROGRAM, such as exec:keys/sign-helper',
    });
  requireCertificate(uri, certificate);
}

/** The certificate, which neither a command nor a cloud service can report. Throws `key-missing` (usage). */
export function requireCertificate(what: string, certificate: string | undefined): string {
  if (certificate !== undefined) return certificate;
  throw usage('key-missing', `${what}: signs with a key whose certificate is not named`, {
    hint: 'give the certificate of its key and the chain in signing.certificate',
  });
}
