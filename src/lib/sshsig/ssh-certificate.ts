import { invalid } from '../errors.ts';
import type { SshCertificate, SshPublicKey } from './public-key.ts';
import { verifyRawSignature } from './ssh-signature.ts';
import type { SshReader } from './ssh-wire.ts';

const KINDS = new Map<number, 'user' | 'host'>([
  [1, 'user'],
  [2, 'host'],
]);
const MAX_PRINCIPALS = 256; // as OpenSSH
const MAX_OPTIONS = 64;

function readPrincipals(reader: SshReader): string[] {
  const list = reader.nested();
  const principals: string[] = [];
  while (!list.done) {
    if (principals.push(list.text()) > MAX_PRINCIPALS) throw list.error('has too many principals');
  }
  return principals;
}

function readOptions(reader: SshReader): Map<string, Buffer> {
  const list = reader.nested();
  const options = new Map<string, Buffer>();
  while (!list.done) {
    const name = list.text();
    if (options.has(name) || options.size === MAX_OPTIONS)
      throw list.error('repeats an option or has too many');
    options.set(name, list.string());
  }
  return options;
}

/**
 * Parses the part of a certificate that follows the certified key (OpenSSH PROTOCOL.certkeys):
 *
 *     uint64 serial; uint32 type; string key id; string valid principals; uint64 valid after;
 *     uint64 valid before; string critical options; string extensions; string reserved;
 *     string signature key; string signature (over everything before it)
 *
 * `parseBareKey` parses the signature key, which must not be a certificate itself.
 */
export function parseCertificate(
  reader: SshReader,
  what: string,
  parseBareKey: (blob: Buffer, what: string) => SshPublicKey,
): SshCertificate {
  const serial = reader.uint64();
  const kind = KINDS.get(reader.uint32());
  if (!kind) throw reader.error('is a certificate for neither user nor host');
  const body = {
    kind,
    serial,
    keyId: reader.text(),
    principals: readPrincipals(reader),
    validAfter: reader.uint64(),
    validBefore: reader.uint64(),
    criticalOptions: readOptions(reader),
    extensions: readOptions(reader),
  };
  reader.string(); // Reserved: signed, but ignored by the specification.
  const authority = parseBareKey(reader.string(), `the authority of ${what}`);
  const signedBytes = reader.bytes.subarray(0, reader.offset);
  const proof = verifyRawSignature(
    authority,
    reader.string(),
    signedBytes,
    `the authority's signature in ${what}`,
  );
  if (!proof)
    throw invalid('ssh-certificate-wrong', `${what} is a certificate that its authority never signed`);
  return { ...body, authority };
}
