import { createHash } from 'node:crypto';
import { invalid, isRefused, notAllowed, SignpipeError, usage, isInvalid } from '../errors.ts';
import { isRefusal, type AllowedSigners, type SignerRefusal } from '../sshsig/allowed-signers.ts';
import { Persons, type SignerKey } from '../sshsig/persons.ts';
import { dearmor, parseSshSig, verifySshSig, type SshSig } from '../sshsig/sshsig.ts';
import { sshString } from '../sshsig/ssh-wire.ts';

export interface CommitSignature {
  /** Who signed, as the allowed signers name the key. */
  readonly principal: string;
  /** Every name that the deciding line gives the key, in its order; usually one. */
  readonly principals: readonly string[];
  /** Only of a certificate: all the names that it holds. */
  readonly certified?: readonly string[];
  /** `SHA256:...` of the key; of a certificate, of the key that it certifies. */
  readonly fingerprint: string;
  /** `ssh-ed25519`, or `ssh-ed25519-cert-v01@openssh.com` for a certificate, ... */
  readonly keyType: string;
  /** The committer's time as the commit claims it, to the second. */
  readonly committedAt: Date;
}

/** A raw commit object, taken apart for its signature. */
export interface SignedCommit {
  /** The commit's id in hex. */
  readonly id: string;
  /** What the signature covers: the object without its signature header. */
  readonly payload: Buffer;
  /** The armored signature, or null. */
  readonly signature: string | null;
  readonly committedAt: Date;
}

/** The namespace of git's SSH signatures. */
export const GIT_NAMESPACE = 'git';

const MAX_COMMIT = 1024 * 1024;
const LF = 10;
const SPACE = 32;
const COMMITTER = /^committer [^\n]*<[^<>\n]*> (\d{1,12}) [+-]\d{4}$/;

/** SHA-1 repositories sign in `gpgsig`, SHA-256 repositories in `gpgsig-sha256`. */
const FORMATS = {
  40: { hash: 'sha1', header: 'gpgsig' },
  64: { hash: 'sha256', header: 'gpgsig-sha256' },
} as const;
type ObjectFormat = (typeof FORMATS)[keyof typeof FORMATS];

/** Which kind of repository a commit is from, by the length of the id in its first line. */
function formatOf(raw: Buffer): ObjectFormat {
  const [, id = ''] = /^tree ([0-9a-f]+)\n/.exec(raw.toString('latin1', 0, 128)) ?? [];
  if (id.length === 40 || id.length === 64) return FORMATS[id.length];
  throw malformed(`a commit of ${raw.length} bytes does not begin with its tree`);
}

const idOf = (raw: Buffer, hash: string): string =>
  createHash(hash).update(`commit ${raw.length}\0`).update(raw).digest('hex');

const malformed = (message: string): SignpipeError =>
  invalid('commit-malformed', message, {
    hint: 'no git wrote this commit: look at it with git cat-file commit and git fsck, and find out who pushed it',
  });

const label = (id: string): string => `commit ${id.slice(0, 12)}`;

interface HeaderLines {
  name: string;
  /** From the first byte of the name to after the last line end. */
  start: number;
  end: number;
}

/** The headers up to the blank line, continuation lines (those that begin with a blank) included. */
function headersOf(raw: Buffer, what: string): HeaderLines[] {
  const headers: HeaderLines[] = [];
  for (let at = 0; at < raw.length && raw[at] !== LF;) {
    const lineEnd = raw.indexOf(LF, at);
    if (lineEnd < 0) throw malformed(`${what} ends within a header`);
    const last = headers.at(-1);
    if (raw[at] === SPACE && last) last.end = lineEnd + 1;
    else
      headers.push({
        name: raw.toString('latin1', at, nameEnd(raw, at, lineEnd)),
        start: at,
        end: lineEnd + 1,
      });
    at = lineEnd + 1;
  }
  return headers;
}

function nameEnd(raw: Buffer, start: number, lineEnd: number): number {
  const space = raw.indexOf(SPACE, start);
  return space < 0 || space > lineEnd ? lineEnd : space;
}

/** git writes tree, parents, author, committer, in this order and once each; others are misread. */
function checkOrder(headers: readonly HeaderLines[], what: string): void {
  const names = headers.map(({ name }) => name);
  const parents = names.filter((name) => name === 'parent').length;
  const expected = ['tree', ...Array<string>(parents).fill('parent'), 'author', 'committer'];
  const unique = ['tree', 'author', 'committer'].every(
    (name) => names.indexOf(name) === names.lastIndexOf(name),
  );
  if (!unique || expected.some((name, index) => names[index] !== name)) {
    throw malformed(`${what} does not have tree, parents, author and committer in git's order`);
  }
}

function committerTime(raw: Buffer, headers: readonly HeaderLines[], what: string): Date {
  const header = headers.find(({ name }) => name === 'committer');
  const line = header ? raw.toString('utf8', header.start, header.end - 1) : '';
  const seconds = COMMITTER.exec(line)?.[1];
  if (seconds === undefined) throw malformed(`${what} has a committer without a time`);
  return new Date(Number(seconds) * 1000);
}

/**
 * Takes the `gpgsig` header off a raw commit object, as git's parse_buffer_signed_by_header
 * (commit.c) does: the value's continuation lines lose the blank in front, everything else, with
 * `mergetag` headers, is the payload.
 *
 * git joins several `gpgsig` headers and drops every other header whose name begins with `gpgsig`
 * from the payload, so that bytes could be added to a signed commit that nobody signed: here both
 * are refused, `commit-signature-malformed`.
 */
export function splitCommit(raw: Buffer): SignedCommit {
  if (raw.length > MAX_COMMIT) throw malformed(`a commit has ${raw.length} bytes`);
  const format = formatOf(raw);
  const id = idOf(raw, format.hash);
  const what = label(id);
  if (raw.includes(0)) throw malformed(`${what} contains a NUL, which hides what follows it`);
  const headers = headersOf(raw, what);
  checkOrder(headers, what);
  const committedAt = committerTime(raw, headers, what);
  const [header, ...more] = headers.filter(({ name }) => name.startsWith('gpgsig'));
  if (!header) return { id, payload: raw, signature: null, committedAt };
  const value = raw.toString('latin1', header.start + header.name.length + 1, header.end);
  if (more.length > 0 || header.name !== format.header) {
    throw invalid(
      'commit-signature-malformed',
      `${what} has signature headers beside or instead of one ${format.header}`,
      {
        hint: 'make the commit again with git commit -S',
      },
    );
  }
  const payload = Buffer.concat([raw.subarray(0, header.start), raw.subarray(header.end)]);
  return { id, payload, signature: value.replaceAll('\n ', '\n'), committedAt };
}

/**
 * Puts a signature into an unsigned raw commit object, where git puts it: as the last header.
 * The result's bytes are those that `git commit -S` would have written.
 */
export function attachSignature(unsignedCommit: Buffer, armored: string): Buffer {
  const { signature } = splitCommit(unsignedCommit);
  if (signature !== null)
    throw usage('commit-signed-already', 'the commit to be signed has a signature already');
  const end = unsignedCommit.indexOf('\n\n') + 1;
  if (end === 0) throw malformed('the commit to be signed has no blank line after its headers');
  const lines = armored.replace(/\n$/, '').split('\n');
  const header = `${formatOf(unsignedCommit).header} ${lines.join('\n ')}\n`;
  return Buffer.concat([
    unsignedCommit.subarray(0, end),
    Buffer.from(header, 'latin1'),
    unsignedCommit.subarray(end),
  ]);
}

/** Who may sign: `AllowedSigners`, or `ANYONE`. */
export type CommitSigners = Pick<AllowedSigners, 'find' | 'persons'>;

/**
 * Any key is good, and is its own name. For those who only watch, and have no list: what they count is a
 * guess at what a signer with its list will find.
 */
export const ANYONE: CommitSigners = {
  find: ({ fingerprint, certificate }) => ({
    principal: fingerprint,
    principals: [fingerprint],
    ...(certificate && { certified: certificate.principals }),
    line: 0,
  }),
  persons: () => Persons.empty(),
};

export interface CommitVerifyOptions {
  /**
   * Demands that the key may sign at this moment, too. Without it only the time in the commit
   * counts, as for git, and whoever stole a key after it expired can sign with an earlier date.
   * Give it when a commit is first acted on; leave it out when an old history is audited.
   */
  now?: Date;
}

const SSH = '-----BEGIN SSH SIGNATURE-----';
const OPENPGP = ['-----BEGIN PGP SIGNATURE-----', '-----BEGIN PGP MESSAGE-----'];
const X509 = '-----BEGIN SIGNED MESSAGE-----';
const SIGN_HINT =
  'sign with an SSH key: git config gpg.format ssh, git config user.signingkey KEY.pub, then git commit -S';

/** The signature, if it is in the one format that is understood. */
function requireSsh(signature: string | null, what: string): string {
  if (signature === null) throw notAllowed('commit-unsigned', `${what} is not signed`, { hint: SIGN_HINT });
  if (OPENPGP.some((begin) => signature.startsWith(begin))) {
    throw notAllowed(
      'commit-signed-openpgp',
      `${what} has an OpenPGP signature, and SSH signatures are wanted`,
      { hint: SIGN_HINT },
    );
  }
  if (signature.startsWith(X509)) {
    throw notAllowed('commit-signed-x509', `${what} has an X.509 signature, and SSH signatures are wanted`, {
      hint: SIGN_HINT,
    });
  }
  if (!signature.startsWith(SSH))
    throw invalid('commit-signature-malformed', `${what} has a signature of no known kind`, {
      hint: SIGN_HINT,
    });
  return signature;
}

/** One code for whatever is broken in a signature; what it is stays in the message. */
function soundly<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof SignpipeError)) throw error;
    throw invalid('commit-signature-malformed', `${what}: ${error.message}`, {
      hint: error.hint ?? 'make the commit again with git commit -S',
      cause: error,
    });
  }
}

function readSignature(signature: string, what: string): SshSig {
  const parsed = soundly(what, () => parseSshSig(dearmor(signature, 'its signature'), 'its signature'));
  if (parsed.namespace === GIT_NAMESPACE) return parsed;
  const namespace = JSON.stringify(parsed.namespace.slice(0, 40));
  throw notAllowed(
    'commit-signature-namespace',
    `${what} carries a signature by ${parsed.publicKey.fingerprint} that was made for ${namespace}, not for git`,
    { hint: 'let git sign (git commit -S), or ssh-keygen -Y sign -n git' },
  );
}

const REFUSALS: Record<SignerRefusal['reason'], { code: string; hint: string }> = {
  unknown: {
    code: 'commit-signer-unknown',
    hint: 'if this key may ask for signatures, add it to the allowed signers; otherwise sign with a key that is there',
  },
  revoked: {
    code: 'commit-signer-revoked',
    hint: 'sign with another key; if this one was used after its theft, look at what it signed',
  },
  namespace: {
    code: 'commit-signature-namespace',
    hint: 'add git to the namespaces="..." of the key\'s line in the allowed signers',
  },
  expired: {
    code: 'commit-signer-expired',
    hint: 'sign with a current key, or move valid-before in the allowed signers or have a new certificate issued',
  },
  'not-yet-valid': {
    code: 'commit-signer-not-yet-valid',
    hint: 'check the clock of whoever committed, and valid-after in the allowed signers or the certificate',
  },
  certificate: {
    code: 'commit-signer-certificate',
    hint: 'have a user certificate issued for a listed name, without login restrictions: ssh-keygen -s CA -I ID -n NAME KEY.pub',
  },
  touch: {
    code: 'commit-signer-absent',
    hint: 'touch the security key when it blinks, or allow no-touch-required in its line of the allowed signers',
  },
};

/**
 * Who signed a commit. The commit's bytes are checked against its signature (in this process, by
 * node:crypto), then the key against the allowed signers at the time the commit claims and, with
 * `now`, at that moment too. Agrees with `git verify-commit` where that refuses, and is stricter
 * in the things that AllowedSigners, splitCommit, dearmor and parseSshSig name.
 *
 * Refusals are `not-allowed`: `commit-unsigned`, `commit-signed-openpgp`, `commit-signed-x509`,
 * `commit-signature-wrong`, `commit-signature-namespace`, `commit-signer-unknown`, `-expired`,
 * `-not-yet-valid`, `-revoked`, `-certificate`, `-absent`; broken bytes are `invalid`:
 * `commit-malformed`, `commit-signature-malformed`.
 *
 * A commit's id is no name for what was signed: see `signedIdentity`.
 */
export function verifyCommitSignature(
  rawCommit: Buffer,
  allowed: CommitSigners,
  options: CommitVerifyOptions = {},
): CommitSignature {
  const { id, payload, signature, committedAt } = splitCommit(rawCommit);
  const what = label(id);
  const sshSig = readSignature(requireSsh(signature, what), what);
  const { publicKey, namespace } = sshSig;
  const proof = soundly(what, () => verifySshSig(sshSig, payload, 'its signature'));
  if (!proof) {
    throw notAllowed(
      'commit-signature-wrong',
      `${what} does not have the contents that ${publicKey.fingerprint} signed`,
      {
        hint: 'the commit was altered after it was signed, or the signature is of another commit: find out who did it, and sign anew',
      },
    );
  }
  proven.set(rawCommit, identityOf(payload, sshSig));
  const finding = allowed.find(
    publicKey,
    namespace,
    options.now ? [committedAt, options.now] : committedAt,
    proof,
  );
  if (isRefusal(finding)) {
    const { code, hint } = REFUSALS[finding.reason];
    throw notAllowed(code, `${what} is signed by ${publicKey.fingerprint}, which ${finding.detail}`, {
      hint,
    });
  }
  const { principal, principals, certified } = finding;
  return {
    principal,
    principals,
    ...(certified && { certified }),
    fingerprint: publicKey.fingerprint,
    keyType: publicKey.name,
    committedAt,
  };
}

/**
 * Only for speed: identities of commits whose signature was just verified, by the buffer that was read (which is
 * never changed). An audit saves 24 µs a receipt, a signer 95 µs a request; without it all still works.
 */
const proven = new WeakMap<Buffer, string>();

/** A commit's payload, and its signature, not yet verified. Null if it has no readable SSH signature for git. */
function signedParts(rawCommit: Buffer): { payload: Buffer; sshSig: SshSig } | null {
  try {
    const { id, payload, signature } = splitCommit(rawCommit);
    return { payload, sshSig: readSignature(requireSsh(signature, label(id)), label(id)) };
  } catch (error) {
    if (isRefused(error)) return null;
    throw error;
  }
}

/** The key is prefixed by its length, so that no byte can move between key and payload. */
const identityOf = (payload: Buffer, { publicKey }: SshSig): string =>
  createHash('sha256').update(sshString(publicKey.plain)).update(payload).digest('hex');

/**
 * The identity that a commit claims, without checking its signature: SHA-256, in hex, over the plain public key
 * (of a certificate: the key that it certifies) as an SSH string, and the signed payload. Null for a commit
 * without a readable signature. Only `signedIdentity` checks whether the claim is true.
 */
export function claimedIdentity(rawCommit: Buffer): string | null {
  const known = proven.get(rawCommit);
  if (known !== undefined) return known;
  const parts = signedParts(rawCommit);
  return parts && identityOf(parts.payload, parts.sshSig);
}

/**
 * The identity of what a key signed; null unless the signature verifies.
 *
 * A commit's id is none: it covers the signature's armor, which the signature does not cover. Without the key
 * anyone can wrap the base64 differently, move the header, negate the s of an ECDSA signature, or exchange the
 * certificate around the key. Each gives another id for the same payload, and git accepts them all.
 */
export function signedIdentity(rawCommit: Buffer): string | null {
  const known = proven.get(rawCommit);
  if (known !== undefined) return known;
  const parts = signedParts(rawCommit);
  if (parts === null) return null;
  const { payload, sshSig } = parts;
  try {
    return verifySshSig(sshSig, payload, 'its signature') ? identityOf(payload, sshSig) : null;
  } catch (error) {
    if (isInvalid(error)) return null;
    throw error;
  }
}

/** What a signature says of who made it, for `Persons`. */
export const whoSigned = ({ fingerprint, principals, certified }: CommitSignature): SignerKey => ({
  fingerprint,
  names: certified ?? principals,
});
