import { isUtf8 } from 'node:buffer';
import { messageOf, SignpipeError, usage } from '../errors.ts';
import { readOnce } from '../bytes/byte-source.ts';
import { LineError, parseAllowedSigner, type AllowedSigner } from './allowed-signers-line.ts';
import { matchesWildcards, matchesWildcardList } from './wildcards.ts';
import { Persons } from './persons.ts';
import { RevokedKeys } from './revoked-keys.ts';
import type { SshCertificate, SshPublicKey } from './public-key.ts';
import type { SshProof } from './ssh-signature.ts';

/** Why a key may not sign. `detail` completes a sentence whose subject is the key: `is revoked`. */
export interface SignerRefusal {
  readonly reason:
    | 'unknown'
    | 'revoked'
    | 'namespace'
    | 'expired'
    | 'not-yet-valid'
    | 'certificate'
    | 'touch';
  readonly detail: string;
}

interface SignerPermission {
  /** The name under which the key is listed; the pattern itself if it is listed with a wildcard. */
  readonly principal: string;
  /** Every name that the deciding line gives the key; `principal` is the first that is permitted. */
  readonly principals: readonly string[];
  /** For certificates only: all of the certificate's names, whether or not the deciding line lists them. */
  readonly certified?: readonly string[];
  /** The line of the allowed signers file that decided, counted from 1. */
  readonly line: number;
}

type SignerVerdict = SignerPermission | SignerRefusal;

export const isRefusal = (finding: SignerVerdict): finding is SignerRefusal => 'reason' in finding;

const MAX_FILE = 4 * 1024 * 1024;
const MAX_LINES = 20_000;
const NO_REVOKED = RevokedKeys.parse(Buffer.alloc(0), 'nothing');

/**
 * The keys that may sign: OpenSSH's ALLOWED SIGNERS file (ssh-keygen(1)), which git reads too through
 * `gpg.ssh.allowedSignersFile`. It belongs on the machine that verifies, never in the repository
 * whose commits are verified.
 *
 * Differences from ssh-keygen: a malformed line makes the whole file invalid, with its number, while ssh-keygen
 * skips it; `no-touch-required` is signpipe's own option (ssh-keygen never checks whether a security key was
 * touched, and skips lines with that option); RSA keys need at least 2048 bits; a certificate with critical
 * options that mean nothing for a signature is refused.
 */
export class AllowedSigners {
  readonly #byKey = new Map<string, AllowedSigner[]>();
  #persons: Persons | undefined;

  private constructor(
    readonly name: string,
    /** The file's content, so that another thread can parse it too. */
    readonly text: string,
    readonly signers: readonly AllowedSigner[],
    readonly revoked: RevokedKeys,
  ) {
    for (const signer of signers) {
      const id = keyId(signer.key, signer.certAuthority);
      const others = this.#byKey.get(id);
      if (others) others.push(signer);
      else this.#byKey.set(id, [signer]);
    }
  }

  /** Reads an allowed signers file and, if given, a file of revoked keys. Errors are `usage`. */
  static async load(path: string, options: { revoked?: string } = {}): Promise<AllowedSigners> {
    const text = await readConfigured(path, 'allowed-signers-unreadable');
    const revoked =
      options.revoked === undefined
        ? NO_REVOKED
        : RevokedKeys.parse(
            await readConfigured(options.revoked, 'revoked-keys-unreadable'),
            options.revoked,
          );
    return AllowedSigners.parse(decodeText(text, path), path, revoked);
  }

  /** Parses the text of a file; `name` is its name in messages. */
  static parse(text: string, name: string, revoked: RevokedKeys = NO_REVOKED): AllowedSigners {
    const lines = text.split('\n');
    if (lines.length > MAX_LINES)
      throw usage('allowed-signers-malformed', `${name} has more than ${MAX_LINES} lines`);
    const signers = lines.flatMap((line, index) => parseLine(line, index + 1, name) ?? []);
    return new AllowedSigners(name, text, signers, revoked);
  }

  /** The persons of the file's lines: a copy, to which the caller can add the names in certificates. */
  persons(): Persons {
    this.#persons ??= Persons.fromLines(this.signers);
    return this.#persons.copy();
  }

  /**
   * Whether `key` may sign in `namespace` at every one of the moments `at`, and under which name. The first moment is
   * the time of signing; a second one is usually now.
   *
   * The rules are those of `git verify-commit`: the first line that lists the key and was valid at the first moment
   * gives the names, whatever its namespaces; the principal is the first of these names for which some line permits
   * key, namespace and moment. So a key in two lines with different names and different namespaces is refused for
   * the second line's namespace: use the same name in both. Names that begin with `!` only exclude and are never the
   * principal. A certificate's names are its principals that match a pattern of the authority's line.
   *
   * `proof`, from verifySshSig, says whether a security key was touched. A touch is required unless the line has
   * `no-touch-required` (and a certificate has its extension of that name too). Without `proof` only the lists are
   * checked: always pass it to verify a signature.
   */
  find(
    key: SshPublicKey,
    namespace: string,
    at: Date | readonly [Date, ...Date[]],
    proof?: SshProof,
  ): SignerVerdict {
    const moments: readonly [Date, ...Date[]] = at instanceof Date ? [at] : at;
    const revoked = this.revoked.reason(key);
    if (revoked !== null) return { reason: 'revoked', detail: revoked };
    const candidates = this.#candidates(key);
    if (candidates.length === 0) return { reason: 'unknown', detail: `is not listed in ${this.name}` };
    const unfit = key.certificate && certificateRefusal(key.certificate, proof);
    if (unfit) return unfit;
    let first: SignerRefusal | undefined;
    for (const signer of candidates) {
      const principals = namesIn(signer, key);
      const refusal =
        principals.length === 0
          ? refuse('certificate', `is certified for none of the names in ${this.#place(signer)}`)
          : this.#timeRefusal(signer, key, moments[0]);
      if (!refusal) return this.#permit(candidates, principals, { key, namespace, moments, proof });
      first ??= refusal;
    }
    return first ?? refuse('unknown', `is not listed in ${this.name}`);
  }

  #candidates(key: SshPublicKey): readonly AllowedSigner[] {
    const id = key.certificate ? keyId(key.certificate.authority, true) : keyId(key, false);
    return this.#byKey.get(id) ?? [];
  }

  /** Permits the first name that some line permits at each of the moments. */
  #permit(candidates: readonly AllowedSigner[], principals: readonly string[], use: KeyUse): SignerVerdict {
    let first: SignerRefusal | undefined;
    for (const principal of principals) {
      const lines = candidates.filter((signer) => matchesWildcardList(principal, signer.principals));
      const verdicts = use.moments.map((moment) => this.#decide(lines, use, moment));
      const refusal = verdicts.find((verdict): verdict is SignerRefusal => 'reason' in verdict);
      const [deciding] = verdicts;
      if (!refusal && deciding && 'line' in deciding)
        return {
          principal,
          principals,
          ...(use.key.certificate && { certified: use.key.certificate.principals }),
          line: deciding.line,
        };
      first ??= refusal;
    }
    return first ?? refuse('unknown', `is not listed in ${this.name}`);
  }

  /** The first line that permits the use, or the first line's refusal. */
  #decide(lines: readonly AllowedSigner[], use: KeyUse, moment: Date): AllowedSigner | SignerRefusal {
    const refusals = lines.map((signer) => this.#lineRefusal(signer, use, moment));
    const permitting = lines[refusals.indexOf(undefined)];
    return (
      permitting ??
      refusals[0] ??
      refuse('unknown', `is listed in ${this.name} under names that exclude one another`)
    );
  }

  #lineRefusal(
    signer: AllowedSigner,
    { key, namespace, proof }: KeyUse,
    moment: Date,
  ): SignerRefusal | undefined {
    if (signer.namespaces && !matchesWildcardList(namespace, signer.namespaces))
      return refuse('namespace', `is not listed for ${JSON.stringify(namespace)} in ${this.#place(signer)}`);
    if (proof?.securityKey?.userPresent === false && !mayGoUntouched(signer, key))
      return refuse('touch', `is a security key that was not touched, as ${this.#place(signer)} requires`);
    return this.#timeRefusal(signer, key, moment);
  }

  #timeRefusal(
    signer: AllowedSigner,
    { certificate }: SshPublicKey,
    moment: Date,
  ): SignerRefusal | undefined {
    const place = this.#place(signer);
    const seconds = BigInt(Math.floor(moment.getTime() / 1000));
    if (certificate && seconds < certificate.validAfter)
      return refuse('not-yet-valid', `has a certificate that begins after ${moment.toISOString()}`);
    if (certificate && seconds >= certificate.validBefore)
      return refuse('expired', `has a certificate that ended before ${moment.toISOString()}`);
    if (signer.validAfter && moment < signer.validAfter)
      return refuse('not-yet-valid', `is valid from ${signer.validAfter.toISOString()} on (${place})`);
    if (signer.validBefore && moment > signer.validBefore)
      return refuse('expired', `was valid until ${signer.validBefore.toISOString()} (${place})`);
    return undefined;
  }

  #place({ line }: AllowedSigner): string {
    return `${this.name}:${line}`;
  }
}

interface KeyUse {
  key: SshPublicKey;
  namespace: string;
  moments: readonly Date[];
  proof: SshProof | undefined;
}

const refuse = (reason: SignerRefusal['reason'], detail: string): SignerRefusal => ({ reason, detail });

/** Identifies a line's key: one that certifies differs from the same key signing by itself. */
const keyId = (key: SshPublicKey, certAuthority: boolean): string =>
  `${certAuthority ? 'ca' : 'key'} ${key.plain.toString('latin1')}`;

/** The names that a line gives a key, in the order in which git tries them. */
function namesIn(signer: AllowedSigner, { certificate }: SshPublicKey): string[] {
  const patterns = signer.principals.filter((pattern) => !pattern.startsWith('!'));
  if (!certificate) return patterns;
  return patterns.flatMap((pattern) =>
    certificate.principals.filter((name) => matchesWildcards(name, pattern)),
  );
}

const mayGoUntouched = (signer: AllowedSigner, { certificate }: SshPublicKey): boolean =>
  signer.noTouchRequired && (certificate === null || certificate.extensions.has('no-touch-required'));

/**
 * Checks a certificate's kind, as ssh-keygen does, and its critical options, which ssh-keygen does not check: only
 * verify-required can be honoured. force-command and source-address restrict logins and show that the certificate
 * was not meant for signing.
 */
function certificateRefusal(
  certificate: SshCertificate,
  proof: SshProof | undefined,
): SignerRefusal | undefined {
  if (certificate.kind !== 'user') return refuse('certificate', 'has a certificate for a host, not a user');
  for (const option of certificate.criticalOptions.keys()) {
    if (option !== 'verify-required')
      return refuse('certificate', `has a certificate with the critical option ${JSON.stringify(option)}`);
    if (proof && proof.securityKey?.userVerified !== true)
      return refuse('touch', 'has a certificate that requires a PIN or fingerprint, and none was given');
  }
  return undefined;
}

function parseLine(text: string, line: number, name: string): AllowedSigner | null {
  const place = `${name}:${line}`;
  try {
    return parseAllowedSigner(text, line, place);
  } catch (error) {
    if (!(error instanceof LineError || error instanceof SignpipeError)) throw error;
    const message = error instanceof LineError ? `${place} ${error.message}` : messageOf(error);
    throw usage('allowed-signers-malformed', message, {
      hint: 'a line is: PRINCIPALS [OPTIONS] TYPE BASE64 [COMMENT], see ALLOWED SIGNERS in ssh-keygen(1)',
      cause: error,
    });
  }
}

/** Decodes UTF-8 text; anything else is refused, since decoding would change the names in it. */
function decodeText(bytes: Buffer, name: string): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  throw usage('allowed-signers-malformed', `${name} is not UTF-8 text`);
}

const UNREADABLE = 'check that it is there, and that this account may read it';

async function readConfigured(path: string, code: string): Promise<Buffer> {
  try {
    const bytes = await readOnce(path, MAX_FILE);
    if (bytes) return bytes;
  } catch (error) {
    throw usage(code, `${path} cannot be read: ${messageOf(error)}`, { hint: UNREADABLE, cause: error });
  }
  throw usage(code, `${path} is larger than ${MAX_FILE} bytes`);
}
