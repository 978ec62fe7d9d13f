import { createHash } from 'node:crypto';
import { invalid, isInvalid, isRefused, notAllowed, SignpipeError } from '../errors.ts';
import { isRefusal, type AllowedSigners, type SignerRefusal } from '../sshsig/allowed-signers.ts';
import type { SshPublicKey } from '../sshsig/public-key.ts';
import { Persons, type SignerKey } from '../sshsig/persons.ts';
import { commitLabel, splitCommit } from './signed-commit.ts';
import { dearmor, parseSshSig, verifySshSig, type SshSig } from '../sshsig/sshsig.ts';
import { sshString } from '../sshsig/ssh-wire.ts';

export interface CommitSignature {
  /** Who signed: the name of the key in the allowed signers. */
  readonly principal: string;
  /** All names that the matching line gives the key, in its order; usually one. */
  readonly principals: readonly string[];
  /** Only of a certificate: all its principals. */
  readonly certified?: readonly string[];
  /** `SHA256:...` of the key; for a certificate, of the key that it certifies. */
  readonly fingerprint: string;
  /** The committer's time as the commit claims it, to the second. */
  readonly committedAt: Date;
}

/** The namespace of git's SSH signatures. */
export const GIT_NAMESPACE = 'git';

/** Who may sign: `AllowedSigners`, or `ANYONE`. */
export type CommitSigners = Pick<AllowedSigners, 'find' | 'persons'>;

/**
 * Accepts any key, and names it by its fingerprint. For readers without a list of keys, who can only estimate what a
 * reader with a list will accept.
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
   * Requires that the key is valid at this time too. Without it only the time in the commit counts, as for Git, and a
   * key that was stolen after it expired can sign with an earlier date. Give it when acting on a new commit; leave it
   * out when auditing an old history.
   */
  now?: Date;
}

const SSH = '-----BEGIN SSH SIGNATURE-----';
const OPENPGP = ['-----BEGIN PGP SIGNATURE-----', '-----BEGIN PGP MESSAGE-----'];
const X509 = '-----BEGIN SIGNED MESSAGE-----';
const SIGN_HINT =
  'sign with an SSH key: git config gpg.format ssh, git config user.signingkey KEY.pub, then git commit -S';

/** Returns the signature if it is an SSH signature, the only format that is supported. */
function requireSsh(signature: string | null, what: string): string {
  if (signature === null) throw notAllowed('commit-unsigned', `${what} is not signed`, { hint: SIGN_HINT });
  if (OPENPGP.some((begin) => signature.startsWith(begin)))
    throw notAllowed(
      'commit-signed-openpgp',
      `${what} has an OpenPGP signature; only SSH signatures are accepted`,
      { hint: SIGN_HINT },
    );
  if (signature.startsWith(X509))
    throw notAllowed(
      'commit-signed-x509',
      `${what} has an X.509 signature; only SSH signatures are accepted`,
      { hint: SIGN_HINT },
    );
  if (!signature.startsWith(SSH))
    throw invalid('commit-signature-malformed', `${what} has a signature of an unknown kind`, {
      hint: SIGN_HINT,
    });
  return signature;
}

/** Reports any error in a signature's bytes under one code; the message keeps the details. */
function wellFormed<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof SignpipeError)) throw error;
    throw invalid('commit-signature-malformed', `${what}: ${error.message}`, {
      hint: error.hint ?? 'create the commit again with git commit -S',
      cause: error,
    });
  }
}

function readSignature(signature: string, what: string): SshSig {
  const parsed = wellFormed(what, () => parseSshSig(dearmor(signature, 'its signature'), 'its signature'));
  if (parsed.namespace === GIT_NAMESPACE) return parsed;
  const namespace = JSON.stringify(parsed.namespace.slice(0, 40));
  throw notAllowed(
    'commit-signature-namespace',
    `${what} has a signature by ${parsed.publicKey.fingerprint} that was made for ${namespace}, not for git`,
    { hint: 'let git sign (git commit -S), or ssh-keygen -Y sign -n git' },
  );
}

const REFUSALS: Record<SignerRefusal['reason'], { code: string; hint: string }> = {
  unknown: {
    code: 'commit-signer-unknown',
    hint: 'if this key may request signatures, add it to the allowed signers; otherwise sign with a key that is listed there',
  },
  revoked: {
    code: 'commit-signer-revoked',
    hint: 'sign with another key; if this key was stolen, examine what it signed since',
  },
  namespace: {
    code: 'commit-signature-namespace',
    hint: 'add git to the namespaces="..." of the key\'s line in the allowed signers',
  },
  expired: {
    code: 'commit-signer-expired',
    hint: 'sign with a current key, move valid-before in the allowed signers, or have a new certificate issued',
  },
  'not-yet-valid': {
    code: 'commit-signer-not-yet-valid',
    hint: 'check the clock of the committing machine, and valid-after in the allowed signers or the certificate',
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
 * Who signed a commit. Checks the commit's bytes against its signature (in this process, with node:crypto), then the
 * key against the allowed signers at the time in the commit and, with `now`, at that time too. Refuses all that
 * `git verify-commit` refuses, and more: see AllowedSigners, splitCommit, dearmor and parseSshSig.
 *
 * Refusals are `not-allowed`: `commit-unsigned`, `commit-signed-openpgp`, `commit-signed-x509`,
 * `commit-signature-wrong`, `commit-signature-namespace`, `commit-signer-unknown`, `-expired`,
 * `-not-yet-valid`, `-revoked`, `-certificate`, `-absent`; broken bytes are `invalid`:
 * `commit-malformed`, `commit-signature-malformed`.
 *
 * A commit's id does not identify what was signed: see `signedIdentity`.
 */
export function verifyCommitSignature(
  rawCommit: Buffer,
  allowed: CommitSigners,
  { now }: CommitVerifyOptions = {},
): CommitSignature {
  const { id, payload, signature, committedAt } = splitCommit(rawCommit);
  const what = commitLabel(id);
  const sshSig = readSignature(requireSsh(signature, what), what);
  const { publicKey, namespace } = sshSig;
  const proof = wellFormed(what, () => verifySshSig(sshSig, payload, 'its signature'));
  if (!proof) throw signatureWrong(what, publicKey.fingerprint);
  proven.set(rawCommit, identityOf(payload, sshSig));
  const signer = allowed.find(publicKey, namespace, now ? [committedAt, now] : committedAt, proof);
  if (isRefusal(signer)) {
    const { code, hint } = REFUSALS[signer.reason];
    throw notAllowed(code, `${what} is signed by ${publicKey.fingerprint}, which ${signer.detail}`, { hint });
  }
  const { principal, principals, certified } = signer;
  return {
    principal,
    principals,
    ...(certified && { certified }),
    fingerprint: publicKey.fingerprint,
    committedAt,
  };
}

const signatureWrong = (what: string, fingerprint: string): SignpipeError =>
  notAllowed('commit-signature-wrong', `${what} does not have the contents that ${fingerprint} signed`, {
    hint: 'the commit was altered after it was signed, or the signature belongs to another commit: find out who did it, and sign again',
  });

/**
 * Only for speed: the identities of commits whose signature was verified, by the buffer that was read (which never
 * changes). An audit saves 24 µs a receipt, a signer 95 µs a request.
 */
const proven = new WeakMap<Buffer, string>();

/** A commit's payload and its unverified signature. Null if it has no readable SSH signature for git. */
function signedParts(rawCommit: Buffer): { payload: Buffer; sshSig: SshSig } | null {
  try {
    const { id, payload, signature } = splitCommit(rawCommit);
    return { payload, sshSig: readSignature(requireSsh(signature, commitLabel(id)), commitLabel(id)) };
  } catch (error) {
    if (isRefused(error)) return null;
    throw error;
  }
}

/**
 * The key that a commit's signature claims to be made with; null for a commit without a readable signature. Only
 * `verifyCommitSignature` checks whether the claim is true.
 */
export const claimedKey = (rawCommit: Buffer): SshPublicKey | null =>
  signedParts(rawCommit)?.sshSig.publicKey ?? null;

/** The key is prefixed by its length, so that no byte can move between key and payload. */
const identityOf = (payload: Buffer, { publicKey }: SshSig): string =>
  createHash('sha256').update(sshString(publicKey.plain)).update(payload).digest('hex');

/**
 * The identity that a commit claims, without checking its signature: SHA-256, in hex, over the plain public key (for a
 * certificate: the key that it certifies) as an SSH string, and the signed payload. Null for a commit without a
 * readable signature. Only `signedIdentity` checks whether the claim is true.
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
 * A commit's id is not such an identity: it covers the signature's armor, which the signature does not cover. Without
 * the key anyone can wrap the base64 differently, move the header, negate the s of an ECDSA signature, or exchange the
 * certificate around the key. Each results in another id for the same payload, and Git accepts them all.
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

/** Who made a signature, for `Persons`. */
export const whoSigned = ({ fingerprint, principals, certified }: CommitSignature): SignerKey => ({
  fingerprint,
  names: certified ?? principals,
});
