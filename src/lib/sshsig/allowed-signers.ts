import { isUtf8 } from 'node:buffer';
import { messageOf, SignpipeError, usage } from '../errors.ts';
import { readOnce } from '../bytes/byte-source.ts';
import { LineError, parseAllowedSigner, type AllowedSigner } from './allowed-signers-line.ts';
import { matchesWildcards, matchesWildcardList } from './wildcards.ts';
import { Persons } from './persons.ts';
import { RevokedKeys } from './revoked-keys.ts';
import type { SshCertificate } from './public-key.ts';
import type { SshPublicKey } from './public-key.ts';
import type { SshProof } from './ssh-signature.ts';

/** Why a key may not sign; `detail` is the end of a sentence that begins with the key. */
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

export interface SignerPermission {
  /** The name under which the key is listed. Where it is listed with a wildcard, the pattern itself. */
  readonly principal: string;
  /** Every name that the deciding line gives the key; `principal` is the first that holds. */
  readonly principals: readonly string[];
  /** Only of a certificate: all the names that it holds, whether the deciding line lists them or not. */
  readonly certified?: readonly string[];
  /** The line of the allowed signers file that decided, counted from 1. */
  readonly line: number;
}

export type SignerVerdict = SignerPermission | SignerRefusal;

export const isRefusal = (finding: SignerVerdict): finding is SignerRefusal => 'reason' in finding;

const MAX_FILE = 4 * 1024 * 1024;
const MAX_LINES = 20_000;
const NO_REVOKED = RevokedKeys.parse(Buffer.alloc(0), 'nothing');

/**
 * Who may sign: OpenSSH's ALLOWED SIGNERS file (ssh-keygen(1)), which git reads too through
 * `gpg.ssh.allowedSignersFile`. It belongs on the machine that verifies, never in the repository
 * whose commits it judges.
 *
 * Differences from ssh-keygen: a line that cannot be read refuses the whole file, with its number,
 * where ssh-keygen passes over it; `no-touch-required` is an option of ours (ssh-keygen never asks
 * whether a security key was touched, and passes over lines that have it); RSA keys have at least
 * 2048 bits; a certificate with critical options that mean nothing for a signature is refused.
 */
export class AllowedSigners {
  readonly name: string;
  readonly signers: readonly AllowedSigner[];
  readonly revoked: RevokedKeys;
  /** The file as it was read, so that another thread can read it too. */
  readonly text: string;
  readonly #byKey = new Map<string, AllowedSigner[]>();
  #persons: Persons | undefined;

  private constructor(name: string, text: string, signers: AllowedSigner[], revoked: RevokedKeys) {
    this.name = name;
    this.text = text;
    this.signers = signers;
    this.revoked = revoked;
    for (const signer of signers) {
      const id = identityOf(signer.key, signer.certAuthority);
      const others = this.#byKey.get(id);
      if (others) others.push(signer);
      else this.#byKey.set(id, [signer]);
    }
  }

  /** From a file, and a file of revoked keys if there is one. Errors are `usage`. */
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

  /** From the text of a file; `name` stands in messages. */
  static parse(text: string, name: string, revoked: RevokedKeys = NO_REVOKED): AllowedSigners {
    const lines = text.split('\n');
    if (lines.length > MAX_LINES)
      throw usage('allowed-signers-malformed', `${name} has more than ${MAX_LINES} lines`);
    const signers = lines.flatMap((line, index) => parseLine(line, index + 1, name) ?? []);
    return new AllowedSigners(name, text, signers, revoked);
  }

  /** Who is one person, as the lines say; the caller's own, to add what certificates say. */
  persons(): Persons {
    this.#persons ??= Persons.fromLines(this.signers);
    return this.#persons.copy();
  }

  /**
   * Whether `key` may sign in `namespace` at every one of the moments `at`, and as whom.
   *
   * The first moment is when it signed, a second one usually is now. As `git verify-commit` has it: the first line that lists the key and was valid at the first
   * moment gives the names, whatever its namespaces; the first of these names for which some line
   * permits key, namespace and moment is the principal. So a key in two lines with different names
   * and different namespaces is refused for the second line's namespace: name it alike in both.
   * Names that begin with `!` only take away and are never the principal. For certificates the
   * names are those principals in the certificate that match a pattern of the authority's line.
   *
   * `proof`, from verifySshSig, tells whether a security key was touched; it has to be, unless the
   * line says `no-touch-required` (and for a certificate, its extension of that name says so too).
   * Without it only the lists are asked: never leave it out where a signature is judged.
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
    const id = key.certificate ? identityOf(key.certificate.authority, true) : identityOf(key, false);
    return this.#byKey.get(id) ?? [];
  }

  /** The first name that some line permits at each of the moments. */
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

  /** The first line that permits the use, or why the first line does not. */
  #decide(lines: readonly AllowedSigner[], use: KeyUse, moment: Date): AllowedSigner | SignerRefusal {
    const refusals = lines.map((signer) => this.#lineRefusal(signer, use, moment));
    const good = lines[refusals.indexOf(undefined)];
    return (
      good ??
      refusals[0] ??
      refuse('unknown', `is listed in ${this.name} under names that exclude each other`)
    );
  }

  #lineRefusal(
    signer: AllowedSigner,
    { key, namespace, proof }: KeyUse,
    moment: Date,
  ): SignerRefusal | undefined {
    if (signer.namespaces && !matchesWildcardList(namespace, signer.namespaces)) {
      return refuse('namespace', `is not listed for ${JSON.stringify(namespace)} in ${this.#place(signer)}`);
    }
    if (proof?.securityKey?.userPresent === false && !mayGoUntouched(signer, key)) {
      return refuse('touch', `is a security key that nobody touched, as ${this.#place(signer)} wants it`);
    }
    return this.#timeRefusal(signer, key, moment);
  }

  #timeRefusal(
    signer: AllowedSigner,
    { certificate }: SshPublicKey,
    moment: Date,
  ): SignerRefusal | undefined {
    const place = this.#place(signer);
    const seconds = BigInt(Math.floor(moment.getTime() / 1000));
    if (certificate && seconds < certificate.validAfter) {
      return refuse('not-yet-valid', `has a certificate that begins after ${moment.toISOString()}`);
    }
    if (certificate && seconds >= certificate.validBefore) {
      return refuse('expired', `has a certificate that ended before ${moment.toISOString()}`);
    }
    if (signer.validAfter && moment < signer.validAfter) {
      return refuse('not-yet-valid', `is good from ${signer.validAfter.toISOString()} on (${place})`);
    }
    if (signer.validBefore && moment > signer.validBefore) {
      return refuse('expired', `was good until ${signer.validBefore.toISOString()} (${place})`);
    }
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

/** A key that certifies and the same key signing by itself are two different things. */
const identityOf = (key: SshPublicKey, certAuthority: boolean): string =>
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
 * What ssh-keygen asks of a certificate (kind, names), and its critical options, which it does not
 * ask about: only verify-required can be honoured. force-command and source-address limit logins
 * and say that the certificate was not meant for signing.
 */
function certificateRefusal(
  certificate: SshCertificate,
  proof: SshProof | undefined,
): SignerRefusal | undefined {
  if (certificate.kind !== 'user') return refuse('certificate', 'has a certificate for a host, not a user');
  for (const option of certificate.criticalOptions.keys()) {
    if (option !== 'verify-required') {
      return refuse('certificate', `has a certificate with the critical option ${JSON.stringify(option)}`);
    }
    if (proof && proof.securityKey?.userVerified !== true) {
      return refuse('touch', 'has a certificate that asks for a PIN or fingerprint, and there was none');
    }
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

/** A name that was not UTF-8 would come out as another name. */
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
    throw usage(code, `${path} cannot be read: ${messageOf(error)}`, {
      hint: UNREADABLE,
      cause: error,
    });
  }
  throw usage(code, `${path} is larger than ${MAX_FILE} bytes`);
}
