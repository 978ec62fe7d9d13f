import { commitFile } from '../../protocol/control/write-commit.ts';
import { formatTrailers, type Trailer } from '../../lib/git/trailers.ts';
import { formatZipname, type RequestedFile } from '../../protocol/control/zipname.ts';
import { CONTROL_TRAILER } from '../../protocol/control/control-trailers.ts';
import type { Heads } from '../../protocol/control/repository.ts';
import { ZIPNAME } from '../../protocol/control/request.ts';
import { ZIPNAME_LIMIT } from '../../protocol/control/zipname.ts';
import { committerOf } from '../config/open.ts';
import { unavailable, usage } from '../../lib/errors.ts';
import { withScratch } from '../../lib/bytes/temp-folder.ts';
import { withFile } from '../../lib/bytes/byte-source.ts';
import { underBar } from '../../lib/progress.ts';
import { requireOutputFolder } from './output-folder.ts';
import { prepareUploads, sayPacked, type PreparedUpload } from './prepare-uploads.ts';
import { rootForTrailer } from './control-root.ts';
import { compilePatterns, type PathFilter } from '../../engine/artifact/globs.ts';
import { pinEntries, type EntryPins } from './pin-entries.ts';
import { publishedFiles } from './published-files.ts';
import { warnOfPending } from './same-name-requests.ts';
import type { BuilderSession } from './session.ts';

/** Which programs of a zip are pinned; unless given, those that the signer's published policy names. */
export interface SparsePins extends Pick<EntryPins, 'limits'> {
  readonly isMeant?: PathFilter | undefined;
}

export interface SubmitOptions {
  /** What was built, for the trailer `Source-Revision`. */
  readonly revision?: string | undefined;
  readonly channel?: string | undefined;
  /** The name under which one file, or what is packed, travels. */
  readonly as?: string | undefined;
  /** Pins these entries of each zip instead of the zip, so that the signer need not move the rest. */
  readonly sparse?: SparsePins | undefined;
  /** Where the signed files will be downloaded to: refused if one would replace what is submitted. */
  readonly output?: string | undefined;
  /** The time of the request; now unless given. */
  readonly now?: Date;
}

async function upload(session: BuilderSession, { name, path, size, sha256 }: PreparedUpload): Promise<void> {
  const to = `${session.config.exchange.incoming}/${name}`;
  await underBar(session.progress, `upload ${name}`, 'bytes', (onProgress) =>
    withFile(path, (content) => session.exchange.deliver(content, to, { size, sha256, onProgress })),
  );
  session.say(`uploaded ${name} (${size} bytes, SHA-256 ${sha256})`);
}

function messageFor(files: readonly RequestedFile[], root: string | null, options: SubmitOptions): string {
  const trailers: Trailer[] = [];
  if (options.revision !== undefined) trailers.push({ key: 'Source-Revision', value: options.revision });
  if (options.channel !== undefined) trailers.push({ key: 'Channel', value: options.channel });
  if (root !== null) trailers.push({ key: CONTROL_TRAILER, value: root });
  const subject = `Sign ${files
    .map(({ name }) => name)
    .join(', ')
    .slice(0, 200)}\n`;
  return trailers.length === 0 ? subject : `${subject}\n${formatTrailers(trailers)}`;
}

/** `zipname` must change for a commit to be a request: the same bytes again are told apart by a comment. */
async function zipnameFor(
  session: BuilderSession,
  parent: string | null,
  files: readonly RequestedFile[],
  now: Date,
): Promise<Buffer> {
  const content = formatZipname(files);
  if (parent === null) return content;
  const before = await session.repository.readFileAt(
    await session.repository.readCommit(parent),
    ZIPNAME,
    ZIPNAME_LIMIT,
  );
  if (!before || !before.subarray(0, content.length).equals(content)) return content;
  return Buffer.concat([content, Buffer.from(`# again, ${now.toISOString()}\n`)]);
}

/** A file as `zipname` is to have it. What was packed for this request is gone when its answer must be proved. */
async function requested(
  { name, path, sha256 }: PreparedUpload,
  packed: boolean,
  pins: EntryPins | null,
): Promise<RequestedFile> {
  if (!pins) return { name, sha256 };
  if (packed)
    throw usage('sparse-not-a-zip', '--sparse takes zips that are there, and packs none', {
      hint: 'pack the zip first and keep it: its answer is proved by it',
    });
  return { name, entries: await pinEntries(path, pins) };
}

async function pinsFor(
  session: BuilderSession,
  heads: Heads,
  { sparse, channel }: SubmitOptions,
): Promise<EntryPins | null> {
  if (!sparse) return null;
  const { isMeant, limits } = sparse;
  return { isMeant: isMeant ?? compilePatterns(await publishedFiles(session, heads, channel)), limits };
}

/** Commits on the branch as it stands; whoever else pushed meanwhile goes first. */
async function pushRequest(
  session: BuilderSession,
  files: readonly RequestedFile[],
  options: SubmitOptions,
): Promise<string> {
  const { repository } = session;
  const { signer, identity } = await committerOf(session);
  for (let tries = 0; tries < 10; tries += 1) {
    const at = options.now ?? new Date();
    const heads = await repository.fetch();
    const parent = heads.requests;
    const root = await rootForTrailer(repository, heads, session.config);
    const content = await zipnameFor(session, parent, files, at);
    const id = await commitFile(repository, {
      parent,
      name: ZIPNAME,
      content,
      message: messageFor(files, root, options),
      identity,
      at,
      signer,
    });
    if ((await repository.push(repository.branches.requests, id, parent)) === 'pushed') return id;
  }
  throw unavailable('request-race', 'the request branch moves faster than a request can be appended', {
    hint: 'try again in a moment',
  });
}

/**
 * Uploads files and asks for their signatures: one signed commit that pins them by their digests.
 * Returns the request's id. Nothing is committed unless everything was uploaded and verified.
 */
export function submit(
  session: BuilderSession,
  paths: readonly string[],
  options: SubmitOptions = {},
): Promise<string> {
  return withScratch(async (scratch) => {
    const collected = await prepareUploads(paths, scratch, options.as);
    const { uploads, packed } = collected;
    sayPacked(session, collected);
    if (options.output !== undefined)
      await requireOutputFolder(
        options.output,
        uploads.map(({ name }) => name),
        paths,
      );
    // The commit key is tried first: an upload of gigabytes must not end at a wrong passphrase.
    await committerOf(session);
    const heads = await session.repository.fetch();
    const pins = await pinsFor(session, heads, options);
    const files: RequestedFile[] = [];
    for (const each of uploads) files.push(await requested(each, packed, pins));
    formatZipname(files);
    await warnOfPending(session.repository, heads, files, session.say);
    for (const each of uploads) await upload(session, each);
    return pushRequest(session, files, options);
  });
}
