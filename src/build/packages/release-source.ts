import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Which source a release is made of. */
export interface ReleaseSource {
  /** The commit that is checked out. */
  readonly commit: string;
  /** When it was made, in seconds since 1970: the time of everything in the packages. */
  readonly seconds: number;
  /** `NAME <ADDRESS>`: who made the packages. */
  readonly maintainer: string;
  /** Whether files differ from the commit. */
  readonly dirty: boolean;
}

/** `NAME <ADDRESS>`, on one line: it stands in the fields of a Debian package. */
const MAINTAINER = /^[^<>\n]+ <[^<>\s]+@[^<>\s]+>$/;

/**
 * Reads the source from Git. SOURCE_DATE_EPOCH replaces the time, DEBFULLNAME and DEBEMAIL the commit's author, as
 * Debian's tools have it.
 */
export async function releaseSource(root: string): Promise<ReleaseSource> {
  const git = async (...args: string[]): Promise<string> =>
    (await run('git', args, { cwd: root })).stdout.trim();
  const {
    SOURCE_DATE_EPOCH: seconds = await git('log', '-1', '--format=%ct'),
    DEBFULLNAME: name = await git('log', '-1', '--format=%an'),
    DEBEMAIL: address = await git('log', '-1', '--format=%ae'),
  } = process.env;
  const maintainer = `${name} <${address}>`;
  if (!/^\d{1,11}$/.test(seconds)) throw new Error(`SOURCE_DATE_EPOCH=${seconds} is not a number of seconds`);
  if (!MAINTAINER.test(maintainer))
    throw new Error(`set DEBFULLNAME and DEBEMAIL: "${maintainer}" is no maintainer`);
  return {
    commit: await git('rev-parse', 'HEAD'),
    seconds: Number(seconds),
    maintainer,
    dirty: (await git('status', '--porcelain')) !== '',
  };
}
