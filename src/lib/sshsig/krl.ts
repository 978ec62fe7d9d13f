import { createHash } from 'node:crypto';
import type { SshPublicKey } from './public-key.ts';
import { SshReader } from './ssh-wire.ts';

/** The serial numbers and key IDs that are revoked for one authority, or for all of them. */
interface RevokedCertificates {
  /** The authority's key in wire form; null is every authority. */
  readonly authority: Buffer | null;
  readonly ranges: { first: bigint; last: bigint }[];
  readonly bitmaps: { offset: bigint; bits: Buffer }[];
  readonly keyIds: Set<string>;
}

const MAGIC = Buffer.from('SSHKRL\n\0', 'latin1');
const VERSION = 1;
/** Sections may be as long as the file; the limit for strings does not apply. */
const MAX_SECTION = 4 * 1024 * 1024;
const CODE = 'revoked-keys-malformed';

const hex = (bytes: Buffer): string => bytes.toString('hex');
const digest = (name: 'sha1' | 'sha256', bytes: Buffer): string =>
  createHash(name).update(bytes).digest('hex');

/**
 * OpenSSH's binary key revocation list, as `ssh-keygen -k` writes it (OpenSSH PROTOCOL.krl).
 * A file with unknown sections or critical extensions is refused, as are signature sections, which OpenSSH dropped
 * in 9.4.
 */
export class KeyRevocationList {
  readonly #keys = new Set<string>();
  readonly #sha1 = new Set<string>();
  readonly #sha256 = new Set<string>();
  readonly #certificates: RevokedCertificates[] = [];

  static recognises = (bytes: Buffer): boolean => bytes.subarray(0, MAGIC.length).equals(MAGIC);

  /** Throws `revoked-keys-malformed` (invalid). */
  constructor(bytes: Buffer, name: string) {
    const reader = new SshReader(bytes, name, CODE);
    reader.take(MAGIC.length);
    const version = reader.uint32();
    if (version !== VERSION) throw reader.error(`is a revocation list of version ${version}`);
    reader.uint64(); // version of the contents
    reader.uint64(); // date of the contents
    reader.uint64(); // flags, none defined
    reader.string(); // reserved
    reader.string(); // comment
    while (!reader.done) this.#section(reader.byte(), reader.nested(MAX_SECTION));
  }

  /** Why the key is revoked, or null. A certificate is also revoked by its authority. */
  reason(key: SshPublicKey): string | null {
    if (this.#hasKey(key)) return 'is revoked';
    const { certificate } = key;
    if (!certificate) return null;
    if (this.#hasKey(certificate.authority)) return 'is certified by an authority that is revoked';
    const certificates = this.#certificates.filter(
      ({ authority }) => authority === null || authority.equals(certificate.authority.plain),
    );
    if (certificates.some(({ keyIds }) => keyIds.has(certificate.keyId)))
      return 'has a certificate whose key ID is revoked';
    const listed = certificates.some((listed) => hasSerial(listed, certificate.serial));
    return listed ? `has a certificate whose serial number ${certificate.serial} is revoked` : null;
  }

  #hasKey({ plain }: SshPublicKey): boolean {
    return (
      this.#keys.has(hex(plain)) ||
      this.#sha256.has(digest('sha256', plain)) ||
      this.#sha1.has(digest('sha1', plain))
    );
  }

  #section(type: number, body: SshReader): void {
    switch (type) {
      case 1:
        this.#certificates.push(readCertificates(body));
        return;
      case 2:
        return fill(this.#keys, body);
      case 3:
        return fill(this.#sha1, body);
      case 5:
        return fill(this.#sha256, body);
      case 255:
        return readExtension(body);
      default:
        throw body.error(`has a section of the unknown type ${type}`);
    }
  }
}

function fill(set: Set<string>, body: SshReader): void {
  while (!body.done) set.add(hex(body.string()));
}

function readExtension(body: SshReader): void {
  const extension = body.text();
  const critical = body.byte() !== 0;
  body.string();
  body.end();
  if (critical) throw body.error(`has the unknown critical extension ${JSON.stringify(extension)}`);
}

function readCertificates(body: SshReader): RevokedCertificates {
  const authority = body.string();
  body.string(); // reserved
  const revoked: RevokedCertificates = {
    authority: authority.length === 0 ? null : authority,
    ranges: [],
    bitmaps: [],
    keyIds: new Set(),
  };
  while (!body.done) readCertificateSection(body.byte(), body.nested(MAX_SECTION), revoked);
  return revoked;
}

function readCertificateSection(type: number, body: SshReader, revoked: RevokedCertificates): void {
  switch (type) {
    case 0x20:
      while (!body.done) {
        const serial = body.uint64();
        revoked.ranges.push({ first: serial, last: serial });
      }
      return;
    case 0x21:
      revoked.ranges.push({ first: body.uint64(), last: body.uint64() });
      return body.end();
    case 0x22:
      revoked.bitmaps.push({ offset: body.uint64(), bits: body.mpint(MAX_SECTION) });
      return body.end();
    case 0x23:
      while (!body.done) revoked.keyIds.add(body.text());
      return;
    case 0x39:
      return readExtension(body);
    default:
      throw body.error(`has a certificate section of the unknown type ${type}`);
  }
}

/** Whether a serial number is revoked. Authorities that do not count write 0, which OpenSSH never revokes. */
function hasSerial({ ranges, bitmaps }: RevokedCertificates, serial: bigint): boolean {
  if (serial === 0n) return false;
  if (ranges.some(({ first, last }) => first <= serial && serial <= last)) return true;
  return bitmaps.some(({ offset, bits }) => hasBit(bits, serial - offset));
}

/** Bit `index` of a big-endian number. */
function hasBit(bits: Buffer, index: bigint): boolean {
  if (index < 0n || index >= BigInt(bits.length) * 8n) return false;
  const at = Number(index);
  return (bits.readUInt8(bits.length - 1 - (at >> 3)) & (1 << (at & 7))) !== 0;
}
