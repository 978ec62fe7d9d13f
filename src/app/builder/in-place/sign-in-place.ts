import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { withTempFolder } from '../../../lib/bytes/temp-folder.ts';
import { sha256OfFile } from '../../../lib/bytes/hash.ts';
import { messageOf, SignpipeError, usage } from '../../../lib/errors.ts';
import { plural } from '../../../lib/plural.ts';
import { shortId } from '../../../lib/git/objects.ts';
import { committerOf } from '../../config/open.ts';
import { formatZipname } from '../../../protocol/control/zipname.ts';
import { pushRequest } from '../push-request.ts';
import type { BuilderSession } from '../session.ts';
import { cancel } from '../steering/cancel.ts';
import { publishedChannel } from '../trusted-policy.ts';
import { upload } from '../upload.ts';
import { wait, type Waited } from '../wait.ts';
import { planUploads, type PlannedUpload } from './plan-uploads.ts';
import { replaceAll } from './replace-all.ts';
import { signedVersions, withStaged, type SignedVersion } from './signed-versions.ts';
import { findTargets } from './targets.ts';

export interface InPlaceOptions {
  readonly revision?: string | undefined;
  readonly channel?: string | undefined;
  /** Begins the names on the exchange, which end in random digits. */
  readonly as?: string | undefined;
  /** Milliseconds. */
  readonly timeout: number;
  readonly allowTest: boolean;
  /** Milliseconds between polls. */
  readonly interval?: number;
  /** Called once the request is made. */
  readonly onRequest?: (request: string) => void;
}

/** What became of the files. */
export interface SignedInPlace {
  readonly request: string;
  /** The receipt's commit. */
  readonly commit: string;
  readonly files: readonly Pick<SignedVersion, 'target' | 'status'>[];
}

/** Uploads the files and requests their signatures; nothing is committed unless all were uploaded. */
async function request(
  session: BuilderSession,
  uploads: readonly PlannedUpload[],
  { revision, channel }: InPlaceOptions,
): Promise<string> {
  const prepared = [];
  for (const { name, path } of uploads)
    prepared.push({
      name,
      path,
      size: (await stat(path)).size,
      sha256: await sha256OfFile(path),
    });
  const files = prepared.map(({ name, sha256 }) => ({ name, sha256 }));
  formatZipname(files);
  for (const each of prepared) await upload(session, each);
  return pushRequest(session, { files, revision, channel });
}

/** A request that was not answered in time is cancelled: only this process could have used the answer. */
async function withdraw(session: BuilderSession, id: string, error: SignpipeError): Promise<SignpipeError> {
  try {
    await cancel(session, id, { reason: 'Its build did not wait any longer' });
    return error.saying(`${error.message}; the request is cancelled, and no file was replaced`, error.hint);
  } catch (failure) {
    return error.saying(
      `${error.message}; no file was replaced, and the request could not be cancelled: ${messageOf(failure)}`,
      error.hint,
    );
  }
}

async function waitOrWithdraw(
  session: BuilderSession,
  id: string,
  uploads: readonly PlannedUpload[],
  output: string,
  { timeout, allowTest, interval }: InPlaceOptions,
): Promise<Waited> {
  try {
    const originals = uploads.map(({ path }) => path);
    const more = interval === undefined ? {} : { interval };
    return await wait(session, id, { timeout, output, originals, allowTest, justMade: true, ...more });
  } catch (error) {
    const isLate = error instanceof SignpipeError && error.code === 'wait-timeout';
    throw isLate ? await withdraw(session, id, error) : error;
  }
}

/**
 * Replaces loose files in the middle of a build by their signed versions: one request, whose files are proved to be the
 * originals plus signatures. Until all are there, no file changes; see `replaceAll`. Throws what `submit` and `wait`
 * throw, `in-place-...`, and `in-place-nothing` (usage) without files.
 */
export function signInPlace(
  session: BuilderSession,
  paths: readonly string[],
  options: InPlaceOptions,
): Promise<SignedInPlace> {
  return withTempFolder(async (scratch) => {
    const targets = await findTargets(paths);
    if (targets.length === 0)
      throw usage('in-place-nothing', 'no file was named', { hint: 'give files, or --list FILE' });
    // Open the commit key first: an upload of gigabytes must not end with a wrong passphrase.
    await committerOf(session);
    const heads = await session.repository.fetch();
    const patterns = (await publishedChannel(session, heads, options.channel))?.files;
    const uploads = await planUploads(targets, scratch, { as: options.as, patterns });
    const id = await request(session, uploads, options);
    session.say(`request ${id}: ${plural(targets.length, 'file')}`);
    options.onRequest?.(id);
    const output = join(scratch, 'signed');
    const { receipt, commit } = await waitOrWithdraw(session, id, uploads, output, options);
    const versions = signedVersions(receipt, uploads, output);
    await withStaged(versions, session.config.limits, replaceAll);
    session.say(`receipt ${shortId(commit)}: replaced by their signed versions`);
    return { request: id, commit, files: versions.map(({ target, status }) => ({ target, status })) };
  });
}
