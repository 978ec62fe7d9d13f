import { chmod, copyFile, mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Git } from '../../lib/git/git.ts';
import { objectId, serializeCommit, serializeTree } from '../../lib/git/objects.ts';
import { buildPack, type NewObject } from '../../lib/git/packfile.ts';
import type { SiteSetup } from './init-signer.ts';
import { folder, createFiles, type FileToCreate } from './create-files.ts';
import { gitKeyLine, setupStep, type SetupStep } from './key-lines.ts';
import { EXAMPLE_PLACES } from './shipped-texts.ts';
import { readShippedFile, shippedFilePath } from './shipped-files.ts';
import type { SiteIdentity } from './identity.ts';

/**
 * How the host's git treats what is pushed. A receipt for thousands of programs has some megabytes; the
 * hook bounds single objects.
 */
const SETTINGS: Readonly<Record<string, string>> = {
  'receive.fsckObjects': 'true',
  'receive.denyNonFastForwards': 'true',
  'receive.denyDeletes': 'true',
  'receive.maxInputSize': '256m',
  'core.logAllRefUpdates': 'true',
};

const TEMPLATE = ['README.md', 'zipname.example'];

const MESSAGE = `Begin the control repository

README.md tells how to ask for a signature. There is no zipname yet: each commit that changes it is a request.
`;

/** The first commit and all that is in it. It is no request, since it has no `zipname`. */
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

/** The same file as both hooks: before anything is stored, and before each branch moves. */
async function installHook(path: string): Promise<void> {
  await mkdir(join(path, 'hooks'));
  for (const name of ['pre-receive', 'update']) {
    const target = join(path, 'hooks', name);
    await copyFile(shippedFilePath('pipeline/hooks/update'), target);
    await chmod(target, 0o755);
  }
}

async function makeRepository(path: string, identity: SiteIdentity, local: boolean): Promise<void> {
  await mkdir(path);
  const git = new Git(path);
  await git.run(['init', '--quiet', '--bare', '--template=', '--initial-branch=main']);
  const settings = { ...SETTINGS, ...(local ? { 'signpipe.local': 'true' } : {}) };
  for (const [name, value] of Object.entries(settings)) await git.run(['config', name, value]);
  const { id, objects } = await firstCommit(identity, new Date());
  await git.run(['index-pack', '--stdin', '--strict'], { input: buildPack(objects) });
  await git.run(['update-ref', 'refs/heads/main', id]);
  await installHook(path);
}

const isFolder = (url: string | undefined): boolean => url?.startsWith('file:') ?? false;

const sample = (user: string, role: string): string => gitKeyLine(user, role, `ssh-ed25519 AAAA... ${user}`);

function accessSteps({ control }: SiteSetup): SetupStep[] {
  if (isFolder(control))
    return [
      setupStep(
        'Whoever can write the folder can push to it (signpipe.local in its configuration): only the permissions of the file system tell builders and signer apart, so keep to one machine and to trials',
      ),
    ];
  return [
    setupStep(
      `Let keys in, each in its role: authorized_keys of the Git account; "init signer", "init builder" and "init voucher" print the real lines (more in ${shippedFilePath('pipeline/host/authorized_keys')})`,
      sample('signer', 'signer'),
      sample('alice', 'builder'),
      sample('bob', 'voucher'),
    ),
    setupStep(
      `Let builders write exchange/incoming and read exchange/signed, and the signer the reverse: accounts for nothing but SFTP`,
      `less ${shippedFilePath('pipeline/host/README.md')}`,
      `less ${shippedFilePath('pipeline/host/sshd_config')}`,
    ),
  ];
}

function nextSteps(setup: SiteSetup): SetupStep[] {
  const control = setup.control ?? EXAMPLE_PLACES.control;
  const exchangeFor = (user: string): string => setup.exchange ?? EXAMPLE_PLACES.exchange(user);
  return [
    ...accessSteps(setup),
    setupStep(
      'On the signer, with the URLs by which it reaches this host',
      `signpipe init signer signer --control ${control} --exchange ${exchangeFor('sign')}`,
    ),
    setupStep(
      'On each builder',
      `signpipe init builder builder --control ${control} --exchange ${exchangeFor('build')}`,
    ),
    setupStep(
      'On the machine of each independent builder who vouches',
      `signpipe init voucher voucher --control ${control}`,
    ),
  ];
}

/**
 * Lays out what a host holds: the bare control repository with its template and its hook, and the exchange
 * beside it. Gives what is left to do. Throws `init-exists` (usage).
 */
export async function initControl(given: SiteSetup): Promise<SetupStep[]> {
  const setup = { ...given, dir: resolve(given.dir) };
  const at = (name: string): string => join(setup.dir, name);
  const repository: FileToCreate = {
    path: at('control.git'),
    make: () => makeRepository(at('control.git'), setup.identity, isFolder(setup.control)),
  };
  await createFiles([
    repository,
    folder(at('exchange')),
    folder(at('exchange/incoming')),
    folder(at('exchange/signed')),
  ]);
  return nextSteps(setup);
}
