import { chmod, copyFile, mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Git } from '../../../lib/git/git.ts';
import { objectId, serializeCommit, serializeTree } from '../../../lib/git/objects.ts';
import { buildPack, type NewObject } from '../../../lib/git/packfile.ts';
import { createFiles, newFolder } from './create-files.ts';
import { gitKeyLine } from './key-lines.ts';
import { EXAMPLE_URLS } from './shipped-texts.ts';
import { setupStep, type SetupStep, type SiteSetup } from './site-setup.ts';
import { readShippedFile, shippedFilePath } from './shipped-files.ts';
import type { SiteIdentity } from './site-identity.ts';

/**
 * Git's settings for the repository. A push has at most 256 MB: a receipt for thousands of programs has a few
 * megabytes, and the hook limits single objects. Each heartbeat replaces one commit: what nothing points to is deleted after
 * three days, so that a signer that writes one a minute keeps the repository below the 6,700 loose objects from which Git
 * tidies up.
 */
export const REPOSITORY_SETTINGS: Readonly<Record<string, string>> = {
  'receive.fsckObjects': 'true',
  'receive.denyNonFastForwards': 'true',
  'receive.denyDeletes': 'true',
  'receive.maxInputSize': '256m',
  'core.logAllRefUpdates': 'true',
  'gc.pruneExpire': '3.days.ago',
};

/** One file is installed as both: pre-receive runs before objects are stored, update before each branch moves. */
export const HOOK_NAMES: readonly string[] = ['pre-receive', 'update'];

const TEMPLATE = ['README.md', 'zipname.example'];

const MESSAGE = `Begin the control repository

README.md explains how to request a signature. There is no zipname yet: each commit that changes it is a request.
`;

/** The first commit and its objects. It is not a request, since it has no `zipname`. */
async function firstCommit(identity: SiteIdentity, at: Date): Promise<{ id: string; objects: NewObject[] }> {
  const contents = await Promise.all(TEMPLATE.map((name) => readShippedFile(`pipeline/control/${name}`)));
  const blobs = contents.map((text): NewObject => ({ type: 'blob', content: Buffer.from(text) }));
  const entries = blobs.map(({ content }, i) => ({
    mode: '100644',
    name: TEMPLATE[i] ?? '',
    id: objectId('blob', content),
  }));
  const tree = serializeTree(entries);
  const commit = serializeCommit({
    tree: objectId('tree', tree),
    parents: [],
    identity: { name: identity.name, email: identity.email },
    at,
    message: MESSAGE,
  });
  const objects: NewObject[] = [
    ...blobs,
    { type: 'tree', content: tree },
    { type: 'commit', content: commit },
  ];
  return { id: objectId('commit', commit), objects };
}

async function installHook(path: string): Promise<void> {
  await mkdir(join(path, 'hooks'));
  for (const name of HOOK_NAMES) {
    const target = join(path, 'hooks', name);
    await copyFile(shippedFilePath('pipeline/hooks/update'), target);
    await chmod(target, 0o755);
  }
}

async function createRepository(path: string, identity: SiteIdentity, local: boolean): Promise<void> {
  await mkdir(path);
  const git = new Git(path);
  await git.run(['init', '--quiet', '--bare', '--template=', '--initial-branch=main']);
  const settings = { ...REPOSITORY_SETTINGS, ...(local ? { 'signpipe.local': 'true' } : {}) };
  for (const [name, value] of Object.entries(settings)) await git.run(['config', name, value]);
  const { id, objects } = await firstCommit(identity, new Date());
  await git.run(['index-pack', '--stdin', '--strict'], { input: buildPack(objects) });
  await git.run(['update-ref', 'refs/heads/main', id]);
  await installHook(path);
}

const isFileUrl = (url: string | undefined): boolean => url?.startsWith('file:') ?? false;

const sampleLine = (user: string, role: string): string =>
  gitKeyLine(user, role, `ssh-ed25519 AAAA... ${user}`);

function accessSteps({ control }: SiteSetup): SetupStep[] {
  if (isFileUrl(control))
    return [
      setupStep(
        'Use this repository on one machine and for trials only: everyone who can write to the folder can push (signpipe.local in its Git configuration), and only the permissions of the file system separate builders from the signer',
      ),
    ];
  return [
    setupStep(
      `Add a line for each key to authorized_keys of the Git account (/etc/ssh/signpipe/git with the sshd_config of pipeline/host); it gives the key its role. Every other "signpipe init" prints the real line (more in ${shippedFilePath('pipeline/host/authorized_keys')})`,
      sampleLine('signer', 'signer'),
      sampleLine('alice', 'builder'),
      sampleLine('bob', 'voucher'),
      sampleLine('manager', ''),
    ),
    setupStep(
      'Create two accounts that can use only SFTP: one for builders, which writes exchange/incoming and reads exchange/signed, and one for the signer, which reads exchange/incoming and writes exchange/signed',
      `less ${shippedFilePath('pipeline/host/README.md')}`,
      `less ${shippedFilePath('pipeline/host/sshd_config')}`,
    ),
  ];
}

function nextSteps(setup: SiteSetup): SetupStep[] {
  const control = setup.control ?? EXAMPLE_URLS.control;
  const exchangeFor = (user: string): string => setup.exchange ?? EXAMPLE_URLS.exchange(user);
  return [
    ...accessSteps(setup),
    setupStep(
      `Set up the signer${isFileUrl(setup.control) ? '' : ' on its own machine, with the URLs by which it reaches this host'}`,
      `signpipe init signer signer --control ${control} --exchange ${exchangeFor('sign')}`,
    ),
    setupStep(
      'Set up each builder',
      `signpipe init builder builder --control ${control} --exchange ${exchangeFor('build')}`,
    ),
    setupStep(
      'If requests need vouches, set up each independent builder who vouches',
      `signpipe init voucher voucher --control ${control}`,
    ),
    setupStep(
      'Set up the release manager, who audits the history: an auditor only reads',
      `signpipe init auditor auditor --control ${control}`,
    ),
  ];
}

/**
 * Creates what a host holds: the bare control repository with its first commit and its hooks, and the folders of the
 * exchange. Returns the steps that are left. Throws `init-exists` (usage).
 */
export async function initControl(given: SiteSetup): Promise<SetupStep[]> {
  const at = (name: string): string => join(resolve(given.dir), name);
  const local = isFileUrl(given.control) ? pathToFileURL(at('exchange')).href : undefined;
  const setup = { ...given, exchange: given.exchange ?? local };
  const repository = at('control.git');
  await createFiles([
    {
      path: repository,
      create: () => createRepository(repository, setup.identity, isFileUrl(setup.control)),
    },
    newFolder(at('exchange')),
    newFolder(at('exchange/incoming')),
    newFolder(at('exchange/signed')),
  ]);
  return nextSteps(setup);
}
