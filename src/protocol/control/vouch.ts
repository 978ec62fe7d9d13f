import { isRefused, type SignpipeError } from '../../lib/errors.ts';
import {
  whoSigned,
  verifyCommitSignature,
  type CommitSignature,
  type CommitSigners,
} from '../../lib/git/commit-signature.ts';
import type { GitIdentity } from '../../lib/git/objects.ts';
import type { Origin } from './commit-origin.ts';
import type { ControlRepository } from './repository.ts';
import type { Persons } from '../../lib/sshsig/persons.ts';
import { listRequests, readRequest, ZIPNAME, type Request } from './request.ts';
import { formatTrailers } from '../../lib/git/trailers.ts';
import { CONTROL_TRAILER, VOUCH_TRAILER } from './control-trailers.ts';
import { commitFile, type CommitSigner } from './write-commit.ts';
import { formatZipname, zipnameLines, type RequestedFile } from './zipname.ts';

/** The newest vouches of one branch that are read. */
const VOUCH_LIMIT = 5000;

/** A pinned file or entry for which a vouch has another hash than the request. */
interface PinDifference {
  /** `NAME`, or `NAME!/ENTRY`. */
  what: string;
  requested: string;
  vouched: string;
}

/** What one principal says about the bytes of a request. */
export interface Vouch {
  /** NAME of the branch `vouch/NAME`. */
  name: string;
  /** The principal whose key signed the commit, and that key's fingerprint. */
  signer: string;
  fingerprint: string;
  commit: string;
  /** It has every line that the request pins, with the same hash. */
  agrees: boolean;
  /** Lines about the same file with another hash. */
  differing: PinDifference[];
  /** It has the same bytes, but does not agree, because it is not known to be for this repository. */
  elsewhere?: true;
}

/** Hashes by `NAME` or `NAME!/ENTRY`. */
export type Pins = ReadonlyMap<string, string>;

/** A commit on a branch of vouches, with the pins that it states. */
export interface VouchStatement {
  readonly name: string;
  readonly commit: string;
  /** Roots that its lines `Control:` name. */
  readonly roots: readonly string[];
  /** Who signed it; null if `fault` says why it does not count. */
  readonly by: CommitSignature | null;
  readonly fault: SignpipeError | null;
  readonly pins: Pins;
}

/** The pins of some files. */
export function pinsOf(files: readonly RequestedFile[]): Pins {
  const pins = new Map<string, string>();
  for (const file of files)
    for (const line of zipnameLines(file)) {
      const [, sha256, what] = /^([0-9a-f]{64}) {2}(.+)$/u.exec(line) ?? [];
      if (sha256 !== undefined && what !== undefined) pins.set(what, sha256);
    }
  return pins;
}

/**
 * Compares the pins of a vouch with those that a request wants. Null if they have no file in common, or if the
 * request pins nothing. A vouch with only some of the lines neither agrees nor differs.
 */
export function comparePins(
  pins: Pins,
  wanted: Pins,
): { readonly agrees: boolean; readonly differing: PinDifference[] } | null {
  const differing: PinDifference[] = [];
  let same = 0;
  for (const [what, requested] of wanted) {
    const vouched = pins.get(what);
    if (vouched === requested) same++;
    else if (vouched !== undefined) differing.push({ what, requested, vouched });
  }
  return same === 0 && differing.length === 0 ? null : { agrees: same === wanted.size, differing };
}

/** Reads one commit on `vouch/NAME` and checks its signature. `now` is when its key has to be valid, besides its own time. */
export async function readVouchStatement(
  repository: ControlRepository,
  { name, commit }: { readonly name: string; readonly commit: string },
  allowed: CommitSigners,
  now?: Date,
): Promise<VouchStatement> {
  const { raw, error, files, roots } = await readRequest(repository, commit);
  const statement = { name, commit, roots, pins: pinsOf(files), by: null, fault: error };
  if (error) return statement;
  try {
    return { ...statement, by: verifyCommitSignature(raw, allowed, now && { now }) };
  } catch (fault) {
    // A refused commit does not keep others from counting.
    if (isRefused(fault)) return { ...statement, fault };
    throw fault;
  }
}

export interface VouchOptions {
  allowed: CommitSigners;
  /** The branches of vouches: `Heads.vouches`. */
  branches: ReadonlyMap<string, string>;
  /** The tip of the request branch: commits in its history are not vouches. */
  requests: string | null;
  /** Who made the request, and so cannot vouch for it. `certified` are the names in a certificate. */
  requester: { principal: string; fingerprint: string; certified?: readonly string[] } | null;
  /** Decides which vouches are for this repository; without it, all count. */
  origin?: Pick<Origin, 'isOurs' | 'isMeant'> | undefined;
  /** When keys have to be valid, besides the time that the commit states; now unless given. */
  now?: Date;
}

export type SignedStatement = VouchStatement & { readonly by: CommitSignature };

/** The signed statements on all branches, newest first on each. */
export async function signedStatements(
  repository: ControlRepository,
  { branches, requests, allowed, now = new Date() }: VouchOptions,
): Promise<SignedStatement[]> {
  const statements: SignedStatement[] = [];
  for (const [name, tip] of branches) {
    const exclude = requests === null ? [] : [requests];
    const commits = (await listRequests(repository, tip, exclude)).reverse().slice(0, VOUCH_LIMIT);
    for (const commit of commits) {
      const statement = await readVouchStatement(repository, { name, commit }, allowed, now);
      if (statement.by) statements.push({ ...statement, by: statement.by });
    }
  }
  return statements;
}

function vouchOf({ name, commit, by, pins }: SignedStatement, wanted: Pins): Vouch | null {
  const compared = comparePins(pins, wanted);
  const { principal: signer, fingerprint } = by;
  return compared && { name, signer, fingerprint, commit, ...compared };
}

/**
 * The vouches for or against the wanted bytes. To agree, a vouch has to be for this repository (otherwise it is
 * marked `elsewhere`). An objection counts unless it names another repository: a voucher who does not know the
 * trailer must still be heard.
 */
async function vouchesAmong(
  statements: readonly SignedStatement[],
  wanted: Pins,
  { origin }: VouchOptions,
): Promise<Vouch[]> {
  const vouches: Vouch[] = [];
  for (const statement of statements) {
    const vouch = vouchOf(statement, wanted);
    if (!vouch) continue;
    const { commit, roots } = statement;
    if (!origin) vouches.push(vouch);
    else if (!vouch.agrees) vouches.push(...(origin.isMeant(roots) ? [vouch] : []));
    else if (await origin.isOurs(commit, roots)) vouches.push(vouch);
    else vouches.push({ ...vouch, agrees: false, elsewhere: true });
  }
  return vouches;
}

/** Which keys and names are one person's, among the signers of these statements, the requester and the allowed signers. */
function personsAmong(statements: readonly SignedStatement[], { allowed, requester }: VouchOptions): Persons {
  const persons = allowed.persons();
  for (const { by } of statements) persons.add(whoSigned(by));
  if (requester) {
    const { fingerprint, principal, certified = [] } = requester;
    persons.add({ fingerprint, names: [principal, ...certified] });
  }
  return persons;
}

/**
 * Vouches for or against the bytes that a request pins: commits on `vouch/NAME`, each signed by an allowed signer who
 * is not the requester, made before or after the request. Each person (see `Persons`) counts once: an agreeing vouch
 * counts whenever it was made; a person without one counts with the newest differing vouch, since the same name is
 * built again each night. A request that pins nothing has no vouches.
 */
export async function vouchesFor(
  repository: ControlRepository,
  request: Pick<Request, 'files'>,
  options: VouchOptions,
): Promise<Vouch[]> {
  if (pinsOf(request.files).size === 0) return [];
  return countVouches(await signedStatements(repository, options), request, options);
}

/** What `vouchesFor` returns, from statements that `signedStatements` has read with the same options. */
export async function countVouches(
  statements: readonly SignedStatement[],
  request: Pick<Request, 'files'>,
  options: VouchOptions,
): Promise<Vouch[]> {
  const pins = pinsOf(request.files);
  if (pins.size === 0) return [];
  const persons = personsAmong(statements, options);
  const vouches = await vouchesAmong(statements, pins, options);
  // Agreeing ones first, then objections; the sort is stable, so the newest of each branch stays in front.
  const rank = ({ agrees, elsewhere }: Vouch): number => (agrees ? 0 : elsewhere ? 2 : 1);
  vouches.sort((a, b) => rank(a) - rank(b));
  const counted = new Set(options.requester ? [persons.personId(options.requester)] : []);
  return vouches.filter((vouch) => {
    const person = persons.personId(vouch);
    if (counted.has(person)) return false;
    counted.add(person);
    return true;
  });
}

interface NewVouch {
  /** The tip of `vouch/NAME`, or null to begin the branch. */
  parent: string | null;
  /** Pinned files, as the request has them. */
  files: readonly RequestedFile[];
  /** Which repository it is for: a root of the request branch, if there is one. */
  root: string | null;
  signer: CommitSigner;
  identity: GitIdentity;
  at: Date;
}

/** Writes a vouch for these bytes and returns its id. It counts once it is pushed to `vouch/NAME`. */
export function createVouchCommit(repository: ControlRepository, vouch: NewVouch): Promise<string> {
  const names = vouch.files.map((file) => file.name).join(', ');
  const trailers = [{ key: VOUCH_TRAILER, value: 'yes' }];
  if (vouch.root !== null) trailers.push({ key: CONTROL_TRAILER, value: vouch.root });
  return commitFile(repository, {
    ...vouch,
    name: ZIPNAME,
    content: formatZipname(vouch.files),
    message: `Vouch for ${names}\n\n${formatTrailers(trailers)}`,
  });
}
