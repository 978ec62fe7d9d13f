import { createHmac, randomBytes } from 'node:crypto';
import forge from 'node-forge';
import { bmp, explicit, integer, NULL, octets, oid, seq, set } from '../lib/asn1/encode-der.ts';
import { parseDer } from '../lib/asn1/der.ts';
import { OID } from '../lib/asn1/oids.ts';
import type { TestIdentity } from './certificates.ts';

const MAC_ITERATIONS = 2048;
const SALT_BYTES = 16;
/** The purpose of the derived key (RFC 7292, B.3). */
const MAC_PURPOSE = 3;

const data = (content: Buffer): Buffer => seq(oid(OID.data), explicit(0, octets(content)));

/** SafeBag (RFC 7292, 4.2). */
const bag = (type: number, value: Buffer, ...attributes: Buffer[]): Buffer =>
  seq(oid(`1.2.840.113549.1.12.10.1.${type}`), explicit(0, value), ...attributes);

/** The attributes that link a key and its certificate: friendlyName and localKeyId. */
const linkAttributes = (name: string, id: Buffer): Buffer =>
  set(seq(oid('1.2.840.113549.1.9.20'), set(bmp(name))), seq(oid('1.2.840.113549.1.9.21'), set(octets(id))));

const x509 = (der: Buffer): Buffer => seq(oid('1.2.840.113549.1.9.22.1'), explicit(0, octets(der)));

/**
 * Writes a PKCS#12 file (RFC 7292) with the identity's key, encrypted with AES-256 and PBKDF2, and its chain
 * without the root. OpenSSL 1.1 and later and Windows 10 1709 and later open it.
 */
export function toPfx(identity: TestIdentity, passphrase: string, name: string): Buffer {
  const { key, certificate, chain } = identity;
  const id = Buffer.from(certificate.sha256.slice(0, 40), 'hex');
  const shrouded = key.export({ type: 'pkcs8', format: 'der', cipher: 'aes-256-cbc', passphrase });
  const [leaf, ...above] = chain.filter((each, at) => at === 0 || !each.isSelfIssued);
  const certificates = [
    bag(3, x509((leaf ?? certificate).raw), linkAttributes(name, id)),
    ...above.map((each) => bag(3, x509(each.raw))),
  ];
  const safe = seq(
    data(seq(...certificates)),
    data(seq(bag(2, parseDer(shrouded, 'key').raw, linkAttributes(name, id)))),
  );
  return seq(integer(3), data(safe), macData(safe, passphrase));
}

/** MacData (RFC 7292, 4) with SHA-256. */
function macData(safe: Buffer, passphrase: string): Buffer {
  const salt = randomBytes(SALT_BYTES);
  const saltText = forge.util.createBuffer(salt.toString('latin1'));
  const derived = forge.pkcs12.generateKey(
    passphrase,
    saltText,
    MAC_PURPOSE,
    MAC_ITERATIONS,
    32,
    forge.md.sha256.create(),
  );
  const digest = createHmac('sha256', Buffer.from(derived.getBytes(), 'latin1')).update(safe).digest();
  return seq(seq(seq(oid(OID.sha256), NULL), octets(digest)), octets(salt), integer(MAC_ITERATIONS));
}
