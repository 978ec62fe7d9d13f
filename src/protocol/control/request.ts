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

/** Names the earlier request that a request repeats. */
export const RETRY_TRAILER = 'Retry-Of';

/** A commit that asks for signatures. Its texts are unchanged and may be hostile: show them through `printable`. */
export interface Request {
  /** The commit's id, 40 hex digits. */
  id: string;
  /** The files that `zipname` names; empty if `error` is set. */
  files: RequestedFile[];
  /** Why this request can never be signed, or null. It is answered nevertheless. */
  error: SignpipeError | null;
  subject: string;
  /** Trailer `Source-Revision`. */
  sourceRevision?: string;
  /** Trailer `Retry-Of`: the earlier request that it repeats. Decides nothing. */
  retryOf?: string;
  /** The message has a line `Vouch:`: its author meant a vouch, on whatever branch it is. */
  vouch?: true;
  /** Roots that lines `Control:` name: the repositories that it is meant for. Empty if it names none. */
  roots: readonly string[];
  /** Trailer `Channel`; `default` without one. */
  channel: string;
  /** `Name <address>`. */
  author: string;
  committer: string;
  committedAt: Date;
  /** The commit object, for checking its signature; empty if it could not be read. */
  raw: Buffer;
}

/** Commits that are read at the same time; Git's reader delivers them in one stream. */
const BATCH = 200;

/** A commit's `zipname` in comparable form; null without one. An unreadable one differs from all others. */
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

/** The keys of some commits; known ones are not read again. */
async function zipnameKeys(
  repository: ControlRepository,
  ids: readonly string[],
  known: ZipnameKeys,
): Promise<ZipnameKeys> {
  const keyOf = async (id: string): Promise<string | null> => known.get(id) ?? zipnameKey(repository, id);
  const keys = new Map<string, string | null>();
  for (let at = 0; at < ids.length; at += BATCH) {
    const batch = ids.slice(at, at + BATCH);
    const batchKeys = await Promise.all(batch.map(keyOf));
    batch.forEach((id, i) => keys.set(id, batchKeys[i] ?? null));
  }
  return keys;
}

/**
 * The requests in the history of `tip` but not of `exclude`, in the order in which they are to be answered: parents
 * before children. A commit is a request if it has a `zipname` that differs from that of every parent; so removing it
 * is not a request, and a merge is one only if it brings something that no side had.
 */
export async function listRequests(
  repository: ControlRepository,
  tip: string,
  exclude: readonly string[] = [],
): Promise<string[]> {
  return requestsAmong(repository, await repository.commitRefsBetween(tip, exclude));
}

/** The requests among some commits, in the given order. */
export async function requestsAmong(
  repository: ControlRepository,
  commits: readonly CommitRef[],
): Promise<string[]> {
  const requests: string[] = [];
  // Parents are usually in the same batch; others are read again, which bounds memory.
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

/** The value of a trailer that may occur once: with two, it would be unclear which counts. */
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

async function readContent(repository: ControlRepository, commit: Commit): Promise<Partial<Request>> {
  const trailers = parseTrailers(commit.message);
  const content: Partial<Request> = {};
  if (isVouchMessage(commit.message)) content.vouch = true;
  try {
    const revision = single(trailers, 'Source-Revision', REVISION);
    if (revision !== undefined) content.sourceRevision = revision;
    const retryOf = single(trailers, RETRY_TRAILER, /^[0-9a-f]{40}$/);
    if (retryOf !== undefined) content.retryOf = retryOf;
    content.channel = single(trailers, 'Channel', CHANNEL) ?? 'default';
    const bytes = await repository.readFileAt(commit, ZIPNAME, ZIPNAME_LIMIT).catch(tooLarge);
    if (bytes === null) throw invalid('zipname-missing', `commit ${shortId(commit.id)} has no zipname`);
    content.files = parseZipname(bytes);
  } catch (error) {
    if (!isInvalid(error)) throw error;
    content.error = error;
  }
  return content;
}

function tooLarge(error: unknown): never {
  if (error instanceof SignpipeError && error.code === 'object-too-large')
    throw invalid('zipname-too-large', `zipname is larger than ${ZIPNAME_LIMIT} bytes`, {
      hint: 'write only names and digests into it',
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
 * Reads a request. An author's mistake is returned as `error`, not thrown: the request will be answered with a
 * rejection, and must not keep others from being answered.
 */
export async function readRequest(repository: ControlRepository, id: string): Promise<Request> {
  let commit: Commit;
  try {
    commit = await repository.readCommit(id);
  } catch (error) {
    const isAuthorsFault = isInvalid(error) && error.code !== 'object-missing';
    if (isAuthorsFault) return { ...blank(id), error };
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
    ...(await readContent(repository, commit)),
  };
}

/** How far ahead of this machine's clock a request may be dated, in milliseconds: clocks differ. */
const MOST_AHEAD = 10 * 60 * 1000;

/** Whether a request is dated so far ahead that it waits: `request-in-future`. */
export const isAhead = ({ committedAt }: Pick<Request, 'committedAt'>, now: Date): boolean =>
  committedAt.getTime() - now.getTime() > MOST_AHEAD;
