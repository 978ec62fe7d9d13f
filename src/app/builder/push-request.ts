import { unavailable } from '../../lib/errors.ts';
import { formatTrailers, type Trailer } from '../../lib/git/trailers.ts';
import { CONTROL_TRAILER } from '../../protocol/control/control-trailers.ts';
import { RETRY_TRAILER, ZIPNAME } from '../../protocol/control/request.ts';
import { commitFile } from '../../protocol/control/write-commit.ts';
import { formatZipname, ZIPNAME_LIMIT, type RequestedFile } from '../../protocol/control/zipname.ts';
import { committerOf } from '../config/open.ts';
import { appendCommit } from './append-commit.ts';
import type { BuilderSession } from './session.ts';

/** What a new request says. */
export interface NewRequest {
  readonly files: readonly RequestedFile[];
  /** What was built, for the trailer `Source-Revision`. */
  readonly revision?: string | undefined;
  readonly channel?: string | undefined;
  /** The earlier request that it repeats. */
  readonly retryOf?: string | undefined;
}

function messageFor({ files, revision, channel, retryOf }: NewRequest, root: string | null): string {
  const trailers: Trailer[] = [];
  if (revision !== undefined) trailers.push({ key: 'Source-Revision', value: revision });
  if (channel !== undefined) trailers.push({ key: 'Channel', value: channel });
  if (retryOf !== undefined) trailers.push({ key: RETRY_TRAILER, value: retryOf });
  if (root !== null) trailers.push({ key: CONTROL_TRAILER, value: root });
  const names = files.map(({ name }) => name).join(', ');
  const subject = `Sign ${names.slice(0, 200)}\n`;
  return trailers.length === 0 ? subject : `${subject}\n${formatTrailers(trailers)}`;
}

/** The content of `zipname`. It must change for a commit to be a request, so a repeated request adds a comment. */
async function zipnameFor(
  { repository }: BuilderSession,
  parent: string | null,
  { files, retryOf }: NewRequest,
  now: Date,
): Promise<Buffer> {
  const content = formatZipname(files);
  const commented = (comment: string): Buffer =>
    Buffer.concat([content, Buffer.from(`# ${comment}, ${now.toISOString()}\n`)]);
  if (retryOf !== undefined) return commented(`retry of ${retryOf}`);
  if (parent === null) return content;
  const before = await repository.readFileAt(await repository.readCommit(parent), ZIPNAME, ZIPNAME_LIMIT);
  return before?.subarray(0, content.length).equals(content) ? commented('again') : content;
}

/**
 * Pushes a signed commit that requests signatures for files on the exchange; returns its id. `onPush` gets the id before
 * each try to push, of which only the last one succeeds.
 */
export async function pushRequest(
  session: BuilderSession,
  request: NewRequest,
  onPush: (id: string) => void = () => {},
): Promise<string> {
  const { repository } = session;
  const { signer, identity } = await committerOf(session);
  const id = await appendCommit(
    session,
    repository.branches.requests,
    ({ requests }) => requests,
    async (parent, root) => {
      const at = new Date();
      const content = await zipnameFor(session, parent, request, at);
      const message = messageFor(request, root);
      const made = { parent, name: ZIPNAME, content, message, identity, at, signer };
      const commit = await commitFile(repository, made);
      onPush(commit);
      return commit;
    },
  );
  if (id !== null) return id;
  throw requestRace();
}

/** `request-race`: other pushes kept a commit from being appended to the request branch. */
export const requestRace = (): Error =>
  unavailable('request-race', 'other pushes to the request branch came first ten times in a row', {
    hint: 'try again in a moment',
  });
