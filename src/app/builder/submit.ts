import { DEFAULT_FILES } from '../../engine/formats/program-names.ts';
import { compilePatterns, type PathFilter } from '../../engine/artifact/globs.ts';
import { usage } from '../../lib/errors.ts';
import { withTempFolder } from '../../lib/bytes/temp-folder.ts';
import type { Heads } from '../../protocol/control/repository.ts';
import { formatZipname, type RequestedFile } from '../../protocol/control/zipname.ts';
import { committerOf } from '../config/open.ts';
import { requireOutputFolder } from './output-folder.ts';
import { pinEntries, type EntryPins } from './pin-entries.ts';
import { prepareUploads, sayPacked, type PreparedUpload, type PrepareOptions } from './prepare-uploads.ts';
import { pushRequest } from './push-request.ts';
import { warnOfPending } from './same-name-requests.ts';
import type { BuilderSession } from './session.ts';
import { publishedChannel } from './trusted-policy.ts';
import { upload } from './upload.ts';

/** Which programs of a zip are pinned: by default those that the signer's published policy names. */
interface SparsePins extends Pick<EntryPins, 'limits'> {
  readonly isMeant?: PathFilter | undefined;
}

interface SubmitOptions extends PrepareOptions {
  /** What was built, for the trailer `Source-Revision`. */
  readonly revision?: string | undefined;
  readonly channel?: string | undefined;
  /** Pins these entries of each zip instead of the whole zip, so that the signer need not fetch the rest. */
  readonly sparse?: SparsePins | undefined;
  /** The folder that signed files will be downloaded to: refused if one of them would replace an input. */
  readonly output?: string | undefined;
  /** Gets the request's id before it is pushed; again, with another id, if other pushes came first. */
  readonly onPush?: ((id: string) => void) | undefined;
}

/** The entry of `zipname` for an upload. A packed zip is refused if the signed zip must be proved against it: it is temporary. */
async function requestedFile(
  { name, path, sha256 }: PreparedUpload,
  packed: boolean,
  pins: EntryPins | null,
): Promise<RequestedFile> {
  if (!pins) return { name, sha256 };
  if (packed)
    throw usage('sparse-not-a-zip', '--sparse works only with zips, and packs none', {
      hint: 'pack the zip first and keep it: the signed zip is checked against it',
    });
  return { name, entries: await pinEntries(path, pins) };
}

/** Says that files need not have been packed if the channel takes any file. */
async function sayUnpacked(session: BuilderSession, heads: Heads, channel?: string): Promise<void> {
  if ((await publishedChannel(session, heads, channel))?.others !== 'checksum') return;
  session.say(
    'this channel also delivers files that cannot be signed: to request them as they are, give --no-pack',
  );
}

async function entryPins(
  session: BuilderSession,
  heads: Heads,
  { sparse, channel }: SubmitOptions,
): Promise<EntryPins | null> {
  if (!sparse) return null;
  const { isMeant, limits } = sparse;
  if (isMeant) return { isMeant, limits };
  const published = await publishedChannel(session, heads, channel);
  return { isMeant: compilePatterns(published?.files ?? DEFAULT_FILES), limits };
}

/**
 * Uploads files and requests signatures for them in one signed commit that pins them by their digests. Returns the
 * request's id. Nothing is committed unless everything was uploaded and verified.
 */
export function submit(
  session: BuilderSession,
  paths: readonly string[],
  options: SubmitOptions = {},
): Promise<string> {
  return withTempFolder(async (scratch) => {
    const prepared = await prepareUploads(paths, scratch, options);
    const { uploads, packed } = prepared;
    sayPacked(session, prepared);
    const names = uploads.map(({ name }) => name);
    if (options.output !== undefined) await requireOutputFolder(options.output, names, paths);
    // Open the commit key first: an upload of gigabytes must not end with a wrong passphrase.
    await committerOf(session);
    const heads = await session.repository.fetch();
    if (packed) await sayUnpacked(session, heads, options.channel);
    const pins = await entryPins(session, heads, options);
    const files: RequestedFile[] = [];
    for (const each of uploads) files.push(await requestedFile(each, packed, pins));
    // Refuses what `zipname` cannot name, before anything is uploaded.
    formatZipname(files);
    await warnOfPending(session.repository, heads, files, session.say);
    for (const each of uploads) await upload(session, each);
    const { revision, channel } = options;
    return pushRequest(session, { files, revision, channel }, options.onPush);
  });
}
