import { createPublicKey, privateEncrypt, constants, type KeyObject } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { octets, seq } from '../../../src/lib/asn1/encode-der.ts';
import { OID, type DigestName } from '../../../src/lib/asn1/oids.ts';
import { algorithm } from '../../../src/lib/cms/build-signed-data.ts';
import { inFolder, must } from '../../engine/authenticode/tools.ts';

/** OpenSSL signs a digest with an EC key; node:crypto can only hash and sign. */
const signWithOpenssl = (key: KeyObject, digest: Buffer): Promise<Buffer> =>
  inFolder(async (folder) => {
    const at = (name: string): string => join(folder, name);
    await writeFile(at('key'), key.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    await writeFile(at('digest'), digest);
    await must(
      'openssl',
      'pkeyutl',
      '-sign',
      '-inkey',
      at('key'),
      '-in',
      at('digest'),
      '-out',
      at('signature'),
    );
    return readFile(at('signature'));
  });

/** What the services of the tests do with a private key: PKCS#1 v1.5 over a DigestInfo, or ECDSA in DER. */
export async function signDigest(key: KeyObject, hash: DigestName, digest: Buffer): Promise<Buffer> {
  if (key.asymmetricKeyType === 'ec') return signWithOpenssl(key, digest);
  const digestInfo = seq(algorithm(OID[hash]), octets(digest));
  return privateEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, digestInfo);
}

export const publicKeyDer = (key: KeyObject): Buffer =>
  createPublicKey(key).export({ type: 'spki', format: 'der' });
