import { createHmac, timingSafeEqual } from 'node:crypto';
import { readAll, withFile } from '../bytes/byte-source.ts';
import { hasCode, SignpipeError, usage } from '../errors.ts';
import { matchesWildcardList } from '../sshsig/wildcards.ts';

/** The key of a known_hosts line. */
interface KnownKey {
  /** `ssh-ed25519`, `ssh-rsa`, `ecdsa-sha2-nistp256`, ... */
  readonly type: string;
  /** The public key as SSH sends it (RFC 4253 section 6.6). */
  readonly blob: Buffer;
  /** Line number in the file, from 1. */
  readonly line: number;
}

/** A file's keys for one host. */
export interface HostKeys {
  /** Keys that the host may show. */
  readonly pinned: readonly KnownKey[];
  /** Keys that must never be accepted from it (`@revoked`). */
  readonly revoked: readonly KnownKey[];
  /** Authorities that may certify its keys (`@cert-authority`); recognised, not followed. */
  readonly authorities: readonly KnownKey[];
}

type Marker = 'none' | 'revoked' | 'cert-authority';

interface KnownHostsLine {
  readonly marker: Marker;
  readonly hosts: string;
  readonly key: KnownKey;
}

/** The largest known_hosts file that is read, in bytes. */
const FILE_LIMIT = 4 * 1024 * 1024;

/** A host's name in known_hosts: `host` on port 22, else `[host]:port`; in lower case, as OpenSSH looks it up. */
export function knownHostName(host: string, port: number): string {
  const name = host.toLowerCase();
  return port === 22 ? name : `[${name}]:${port}`;
}

/**
 * The type of a public key blob, its first string (RFC 4251 section 5); null if there is none.
 * The length is bounded, since the blob may come from an unknown host.
 */
export function keyTypeOf(blob: Buffer): string | null {
  if (blob.length < 4) return null;
  const length = blob.readUInt32BE(0);
  if (length === 0 || length > 64 || 4 + length > blob.length) return null;
  return blob.toString('latin1', 4, 4 + length);
}

/** `|1|base64 salt|base64 HMAC-SHA1(salt, name)` (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"). */
function matchesHashed(name: string, hosts: string): boolean {
  const [, salt = '', hash = ''] = hosts.slice(1).split('|');
  const expected = Buffer.from(hash, 'base64');
  const actual = createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest();
  return expected.length === actual.length && timingSafeEqual(expected, actual);
}

const matches = (name: string, hosts: string): boolean =>
  hosts.startsWith('|')
    ? matchesHashed(name, hosts)
    : matchesWildcardList(name, hosts.toLowerCase().split(','));

function malformed(file: string, line: number, why: string): SignpipeError {
  return usage('known-hosts-invalid', `${file}:${line}: ${why}`, {
    hint: 'a line is `host[,host...] keytype base64`, as `ssh-keyscan HOST` prints it; verify the key by another channel before you trust it',
  });
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const HASHED = /^\|1\|[A-Za-z0-9+/]{27}=\|[A-Za-z0-9+/]{27}=$/;
const MARKERS: ReadonlyMap<string, Marker> = new Map([
  ['@revoked', 'revoked'],
  ['@cert-authority', 'cert-authority'],
]);

/** Parses a line that is neither blank nor a comment. A damaged line is refused, not skipped: it may be a revocation. */
function parseLine(text: string, file: string, line: number): KnownHostsLine {
  const fields = text.split(/[ \t]+/);
  let marker: Marker = 'none';
  if (fields[0]?.startsWith('@')) {
    const knownMarker = MARKERS.get(fields.shift() ?? '');
    if (!knownMarker) throw malformed(file, line, 'unknown marker; only @revoked and @cert-authority exist');
    marker = knownMarker;
  }
  const [hosts, type, encoded] = fields;
  if (!hosts || !type || !encoded) throw malformed(file, line, 'not a host, a key type and a key');
  if (hosts.startsWith('|') && !HASHED.test(hosts))
    throw malformed(file, line, 'the hashed host name is damaged');
  const blob = Buffer.from(encoded, 'base64');
  if (!BASE64.test(encoded) || keyTypeOf(blob) !== type)
    throw malformed(file, line, `the key is damaged, or is not a ${type} key`);
  return { marker, hosts, key: { type, blob, line } };
}

/**
 * An OpenSSH known_hosts file (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): plain names, lists, wildcards,
 * negation, hashed names, `[host]:port`, `@revoked` and `@cert-authority`.
 */
export class KnownHosts {
  private constructor(
    private readonly lines: readonly KnownHostsLine[],
    /** The file's path, for messages. */
    readonly file: string,
  ) {}

  /** Parses the text of a file; throws `known-hosts-invalid` (usage) naming the line. */
  static parse(text: string, file: string): KnownHosts {
    const lines: KnownHostsLine[] = [];
    for (const [index, raw] of text.split('\n').entries()) {
      const line = raw.replace(/\r$/, '').replace(/^[ \t]+|(?<![ \t])[ \t]+$/g, '');
      if (line !== '' && !line.startsWith('#')) lines.push(parseLine(line, file, index + 1));
    }
    return new KnownHosts(lines, file);
  }

  /** Reads and parses a file; throws `known-hosts-missing`, `known-hosts-invalid` (usage). */
  static async load(path: string): Promise<KnownHosts> {
    try {
      const bytes = await withFile(path, (file) => readAll(file, FILE_LIMIT));
      return KnownHosts.parse(bytes.toString('utf8'), path);
    } catch (error) {
      if (!hasCode(error, 'file-not-found')) throw error;
      throw usage('known-hosts-missing', `${path}: no such known_hosts file`, {
        cause: error,
        hint: 'write the host key there with `ssh-keyscan -p PORT HOST`, and compare its fingerprint with the one the host prints',
      });
    }
  }

  /** The keys of the lines that match `name`, a result of `knownHostName`. */
  lookup(name: string): HostKeys {
    const lines = this.lines.filter((line) => matches(name, line.hosts));
    const keys = (marker: Marker): KnownKey[] =>
      lines.filter((line) => line.marker === marker).map((line) => line.key);
    return { pinned: keys('none'), revoked: keys('revoked'), authorities: keys('cert-authority') };
  }
}
