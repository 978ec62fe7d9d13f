import { invalid, SignpipeError, isInvalid } from '../../lib/errors.ts';
import type { CommitRef } from '../../lib/git/first-parent-walk.ts';
import { shortId, type Commit, type DatedIdentity } from '../../lib/git/objects.ts';
import { parseTrailers, trailerValues, type Trailer } from '../../lib/git/trailers.ts';
import { printable } from '../../lib/printable.ts';
import { isVouchMessage, rootsNamed } from './control-trailers.ts';
import type { ControlRepository } from './repository.ts';
import { parseZipname, ZIPNAME_LIMIT, type RequestedFile } from './zipname.ts';

/** The file whose change makes a commit a request. */
export const ZIPNAME = 'zipname';

/** A commit that asks for signatures. Texts are as the commit has them: hostile, to be shown through `printable`. */
export interface Request {
  /** The commit's id, 40 hex digits. */
  id: string;
  /** What `zipname` names; empty when `error` is set. */
  files: RequestedFile[];
  /** Why this can never be signed as asked, or null. It is a request all the same, and is answered. */
  error: SignpipeError | null;
  subject: string;
  /** Trailer `Source-Revision`. */
  sourceRevision?: string;
  /** A line `Vouch:` anywhere in the message: its author meant it as a vouch, on whatever branch it lies. */
  vouch?: true;
  /** Roots that lines `Control:` name: the repositories that it is meant for. Empty: it does not say. */
  roots: readonly string[];
  /** Trailer `Channel`; `default` without one. */
  channel: string;
  /** `Name <address>`. */
  author: string;
  committer: string;
  committedAt: Date;
  /** The commit object, for checking its signature; empty when it could not be read. */
  raw: Buffer;
}

/** Commits looked at side by side; the reader answers them in one stream. */
const BATCH = 200;

/** What a commit has under `zipname`, comparable; null for nothing. Unreadable ones differ from all others. */
async function zipnameKey(repository: ControlRepository, id: string): Promise<string | null> {
  try {
    const entry = await repository.entryAt(await repository.readCommit(id), ZIPNAME);
    return entry && `${entry.kind} ${entry.id}`;
  } catch (error) {
    if (isInvalid(error)) return `unreadable ${id}`;
    throw error;
  }
}

type ZipnameKeys = ReadonlyMap<string, string | null>;

/** The keys of some commits; those that are known already are taken from there. */
async function zipnameKeys(
  repository: ControlRepository,
  ids: readonly string[],
  known: ZipnameKeys,
): Promise<ZipnameKeys> {
  const keyOf = async (id: string): Promise<string | null> => known.get(id) ?? zipnameKey(repository, id);
  const keys = new Map<string, string | null>();
  for (let at = 0; at < ids.length; at += BATCH) {
    const batch = ids.slice(at, at + BATCH);
    const found = await Promise.all(batch.map(keyOf));
    batch.forEach((id, i) => keys.set(id, found[i] ?? null));
  }
  return keys;
}

/**
 * The requests that `tip` has in its history and none of `exclude` has, in the order in which they are to be
 * answered: parents before children. A commit is a request when its `zipname` is there and differs from that
 * of every parent; so removing it is none, and a merge is one only if it brings something that no side had.
 */
export async function listRequests(
  repository: ControlRepository,
  tip: string,
  exclude: readonly string[] = [],
): Promise<string[]> {
  return requestsAmong(repository, await repository.commitRefsBetween(tip, exclude));
}

/** Those of some commits that are requests, in the order given. */
export async function requestsAmong(
  repository: ControlRepository,
  commits: readonly CommitRef[],
): Promise<string[]> {
  const requests: string[] = [];
  // Parents are near by as a rule, and looked at again where they are not: that bounds memory.
  let keys: ZipnameKeys = new Map();
  for (let at = 0; at < commits.length; at += BATCH) {
    const batch = commits.slice(at, at + BATCH);
    const ids = new Set(batch.flatMap(({ id, parents }) => [id, ...parents]));
    keys = await zipnameKeys(repository, [...ids], keys);
    for (const { id, parents } of batch) if (isChange(keys, id, parents)) requests.push(id);
  }
  return requests;
}

function isChange(keys: ZipnameKeys, id: string, parents: readonly string[]): boolean {
  const key = keys.get(id) ?? null;
  return key !== null && parents.every((parent) => keys.get(parent) !== key);
}

const personText = ({ name, email }: DatedIdentity): string => `${name} <${email}>`;

/** The value of a trailer that may stand once: it decides, so two would leave open which does. */
function single(trailers: readonly Trailer[], key: string, pattern: RegExp): string | undefined {
  const [value, ...more] = trailerValues(trailers, key);
  if (more.length > 0)
    throw invalid('request-trailer-repeated', `the commit message has more than one ${key} trailer`, {
      hint: 'commit a new request with one of them',
    });
  if (value !== undefined && !pattern.test(value))
    throw invalid('request-trailer', `the trailer ${key}: ${printable(value, 100)} cannot be read`, {
      hint: `${key} is a single short word or line`,
    });
  return value;
}

const CHANNEL = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const REVISION = /^[^\p{C}]{1,200}$/u;

async function readAsked(repository: ControlRepository, commit: Commit): Promise<Partial<Request>> {
  const trailers = parseTrailers(commit.message);
  const asked: Partial<Request> = {};
  if (isVouchMessage(commit.message)) asked.vouch = true;
  try {
    const revision = single(trailers, 'Source-Revision', REVISION);
    if (revision !== undefined) asked.sourceRevision = revision;
    asked.channel = single(trailers, 'Channel', CHANNEL) ?? 'default';
    const bytes = await repository.readFileAt(commit, ZIPNAME, ZIPNAME_LIMIT).catch(tooLarge);
    if (bytes === null) throw invalid('zipname-missing', `commit ${shortId(commit.id)} has no zipname`);
    asked.files = parseZipname(bytes);
  } catch (error) {
    if (!isInvalid(error)) throw error;
    asked.error = error;
  }
  return asked;
}

function tooLarge(error: unknown): never {
  if (error instanceof SignpipeError && error.code === 'object-too-large')
    throw invalid('zipname-too-large', `zipname is larger than ${ZIPNAME_LIMIT} bytes`, {
      hint: 'keep to names and digests: other text has no place in it',
      cause: error,
    });
  throw error;
}

const blank = (id: string): Request => ({
  id,
  files: [],
  error: null,
  subject: '',
  roots: [],
  channel: 'default',
  author: '',
  committer: '',
  committedAt: new Date(0),
  raw: Buffer.alloc(0),
});

/**
 * Reads a request. Whatever its author got wrong comes back as `error`, never as an exception: it will be
 * answered with a rejection, and must not keep others from being answered.
 */
export async function readRequest(repository: ControlRepository, id: string): Promise<Request> {
  let commit: Commit;
  try {
    commit = await repository.readCommit(id);
  } catch (error) {
    const theirs = isInvalid(error) && error.code !== 'object-missing';
    if (theirs) return { ...blank(id), error };
    throw error;
  }
  return {
    ...blank(id),
    subject: commit.message.trimStart().split('\n', 1)[0]?.trim() ?? '',
    author: personText(commit.author),
    committer: personText(commit.committer),
    committedAt: commit.committer.at,
    raw: commit.raw,
    roots: rootsNamed(commit.message),
    ...(await readAsked(repository, commit)),
  };
}

/** How far ahead of a clock a request may be dated, in milliseconds: clocks differ. */
const MOST_AHEAD = 10 * 60 * 1000;

/** Whether a request is dated so far ahead that it waits: `request-in-future`. */
export const isAhead = ({ committedAt }: Pick<Request, 'committedAt'>, now: Date): boolean =>
  committedAt.getTime() - now.getTime() > MOST_AHEAD;
