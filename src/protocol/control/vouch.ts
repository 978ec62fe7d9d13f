import { isRefused } from '../../lib/errors.ts';
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

/** The newest vouches of one branch that are looked at. */
const VOUCH_LIMIT = 5000;

/** Where somebody's bytes are not those of the request. */
export interface Difference {
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
  /** Every line that the request pins stands in this commit with the same hash. */
  agrees: boolean;
  /** Lines about the same file with another hash. */
  differing: Difference[];
  /** It has the same bytes, and does not agree since it is not known to be for this repository. */
  elsewhere?: true;
}

/** A signed commit on a branch of vouches, with the pins it states. */
interface Statement {
  name: string;
  commit: string;
  /** Roots that its lines `Control:` name. */
  roots: readonly string[];
  by: CommitSignature;
  pins: Map<string, string>;
}

/** The pins of some files: hash by `NAME` or `NAME!/ENTRY`. */
export function pinsOf(files: readonly RequestedFile[]): Map<string, string> {
  const pins = new Map<string, string>();
  for (const file of files)
    for (const line of zipnameLines(file)) {
      const [, sha256, what] = /^([0-9a-f]{64}) {2}(.+)$/u.exec(line) ?? [];
      if (sha256 !== undefined && what !== undefined) pins.set(what, sha256);
    }
  return pins;
}

export interface VouchOptions {
  allowed: CommitSigners;
  /** The branches of vouches: `Heads.vouches`. */
  branches: ReadonlyMap<string, string>;
  /** The tip of the request branch: what is in its history was said there, and is no vouch. */
  requests: string | null;
  /** Who made the request: this person cannot vouch for it. Of a certificate, `certified` are the names in it. */
  requester: { principal: string; fingerprint: string; certified?: readonly string[] } | null;
  /** Which vouches are for this repository; without it, all are heard. */
  origin?: Pick<Origin, 'isOurs' | 'isMeant'> | undefined;
  /** When keys have to be valid, besides the time the commit states; now unless given. */
  now?: Date;
}

async function readStatement(
  repository: ControlRepository,
  name: string,
  commit: string,
  { allowed, now }: VouchOptions,
): Promise<Statement | null> {
  const said = await readRequest(repository, commit);
  if (said.error) return null;
  try {
    const by = verifyCommitSignature(said.raw, allowed, { now: now ?? new Date() });
    return { name, commit, roots: said.roots, by, pins: pinsOf(said.files) };
  } catch (error) {
    // A refusal is of this commit alone: it says nothing, and others still count.
    if (isRefused(error)) return null;
    throw error;
  }
}

/** The signed statements on all branches, newest first on each. */
async function statements(repository: ControlRepository, options: VouchOptions): Promise<Statement[]> {
  const found: Statement[] = [];
  for (const [name, tip] of options.branches) {
    const exclude = options.requests === null ? [] : [options.requests];
    const commits = (await listRequests(repository, tip, exclude)).reverse().slice(0, VOUCH_LIMIT);
    for (const commit of commits) {
      const statement = await readStatement(repository, name, commit, options);
      if (statement) found.push(statement);
    }
  }
  return found;
}

function judge({ name, commit, by, pins }: Statement, wanted: ReadonlyMap<string, string>): Vouch | null {
  const differing: Difference[] = [];
  let same = 0;
  for (const [what, requested] of wanted) {
    const vouched = pins.get(what);
    if (vouched === requested) same++;
    else if (vouched !== undefined) differing.push({ what, requested, vouched });
  }
  if (same === 0 && differing.length === 0) return null;
  const agrees = same === wanted.size;
  const { principal: signer, fingerprint } = by;
  return { name, signer, fingerprint, commit, agrees, differing };
}

/**
 * What the statements say about the bytes that are wanted. To agree, a vouch has to be for this repository. An
 * objection counts unless it names another one: a voucher who does not know the trailer must still be heard.
 */
async function judgeAll(
  statements: readonly Statement[],
  wanted: ReadonlyMap<string, string>,
  { origin }: VouchOptions,
): Promise<Vouch[]> {
  const heard: Vouch[] = [];
  for (const statement of statements) {
    const vouch = judge(statement, wanted);
    if (!vouch) continue;
    const { commit, roots } = statement;
    if (!origin) heard.push(vouch);
    else if (!vouch.agrees) heard.push(...(origin.isMeant(roots) ? [vouch] : []));
    else if (await origin.isOurs(commit, roots)) heard.push(vouch);
    else heard.push({ ...vouch, agrees: false, elsewhere: true });
  }
  return heard;
}

/** Who is one person among the signers of these statements, the requester and the allowed signers. */
function personsAmong(statements: readonly Statement[], { allowed, requester }: VouchOptions): Persons {
  const persons = allowed.persons();
  for (const { by } of statements) persons.add(whoSigned(by));
  if (requester) {
    const { fingerprint, principal, certified = [] } = requester;
    persons.add({ fingerprint, names: [principal, ...certified] });
  }
  return persons;
}

/**
 * What others say about the bytes that a request pins: commits on `vouch/NAME`, each signed by an allowed
 * signer who is not the requester, made before or after the request. One person (see `Persons`) is heard once: an
 * agreeing vouch counts whenever it was made; only who has none is heard with the newest differing one, since
 * the same name is built anew each night. A vouch that states only some of the lines neither agrees nor differs.
 * A request that pins nothing has nothing to vouch for.
 */
export async function vouchesFor(
  repository: ControlRepository,
  request: Pick<Request, 'files'>,
  options: VouchOptions,
): Promise<Vouch[]> {
  const wanted = pinsOf(request.files);
  if (wanted.size === 0) return [];
  const all = await statements(repository, options);
  const persons = personsAmong(all, options);
  const heard = await judgeAll(all, wanted, options);
  // Agreeing ones first, then objections; the sort is stable, so the newest of each branch stays in front.
  const rank = ({ agrees, elsewhere }: Vouch): number => (agrees ? 0 : elsewhere ? 2 : 1);
  heard.sort((a, b) => rank(a) - rank(b));
  const spoken = new Set(options.requester ? [persons.personId(options.requester)] : []);
  return heard.filter((vouch) => {
    const person = persons.personId(vouch);
    if (spoken.has(person)) return false;
    spoken.add(person);
    return true;
  });
}

export interface NewVouch {
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

/** Writes a vouch for these bytes and gives its id; `push` to `vouch/NAME` makes it heard. */
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
