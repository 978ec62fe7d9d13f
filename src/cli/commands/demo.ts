import { DEFAULT_LIMITS } from '../../lib/zip/limits.ts';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { withSession, type BuilderSession } from '../../app/builder/session.ts';
import { submit } from '../../app/builder/submit.ts';
import { wait, type Waited } from '../../app/builder/wait.ts';
import { loadBuilderConfig } from '../../app/config/builder.ts';
import { loadCourierConfig } from '../../app/config/courier.ts';
import { withCourier } from '../../app/courier/open-courier.ts';
import { loadSignerConfig } from '../../app/config/signer.ts';
import { printable } from '../../lib/printable.ts';
import { hasCode, usage } from '../../lib/errors.ts';
import { writeFileAtomically } from '../../lib/bytes/atomic-file.ts';
import { toPem } from '../../sandbox/certificates.ts';
import { makeSample, SAMPLE_NAME } from '../../sandbox/sample-release.ts';
import { layOutSite, writeConfigs, type SandboxSite } from '../../sandbox/site.ts';
import { startSshHost } from '../../sandbox/ssh-host.ts';
import { startTimestampAuthority } from '../../sandbox/timestamp-authority.ts';
import { openSignerContext } from '../../app/signer/context/signer-context.ts';
import { RequestPoller } from '../../app/signer/request/request-poller.ts';
import { proveFile } from '../../engine/artifact/prove-file.ts';
import { verifyFile } from '../../engine/artifact/verify-file.ts';
import { withTempFolder } from '../../lib/bytes/temp-folder.ts';
import { progressFor } from '../output/progress-bars.ts';
import { print, type CommonOptions } from '../output/terminal.ts';

interface DemoCommandOptions extends CommonOptions {
  readonly dir?: string;
  readonly timestampVia: 'direct' | 'ssh' | 'courier';
}

const run = promisify(execFile);

/** What the story says of the way to the timestamp authority. */
const VIA_TEXTS = {
  direct: '',
  ssh: '; the signer reaches the authority through the host',
  courier: '; a courier carries the signer’s timestamp queries',
} as const;

/** Prints numbered steps, each with the time that it took; `detail` describes the result. */
class Story {
  private count = 0;
  constructor(private readonly quiet: boolean) {}

  async step<T>(
    title: string,
    act: () => Promise<T>,
    detail: (result: T) => string[] = () => [],
  ): Promise<T> {
    const began = performance.now();
    const result = await act();
    this.count += 1;
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    if (!this.quiet)
      print(
        [`${this.count}. ${title}  (${seconds} s)`, ...detail(result).map((line) => `     ${line}`)].join(
          '\n',
        ),
      );
    return result;
  }
}

async function emptyFolder(dir: string): Promise<string> {
  const path = resolve(dir);
  await mkdir(path, { recursive: true });
  const names = await readdir(path);
  if (names.length > 0)
    throw usage('folder-not-empty', `${path}: not empty`, { hint: 'give a new or empty folder' });
  return path;
}

async function prepareZip(dir: string, zip: string | undefined): Promise<string[]> {
  const path = join(dir, 'unsigned.zip');
  if (zip === undefined) {
    const { programs } = await makeSample(path);
    return programs.map(
      ({ name, origin, ours }) => `${name}  (${origin}${ours ? '' : '; signed by its author already'})`,
    );
  }
  try {
    await copyFile(zip, path);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) throw usage('file-not-found', `${zip}: no such file`, { cause: error });
    throw error;
  }
  return [zip];
}

/** Starts the hosts that a real site has: one for Git and exchange over SSH, and a timestamp authority. */
async function startHosts(
  site: SandboxSite,
  via: DemoCommandOptions['timestampVia'],
): Promise<{ close: () => Promise<void> }> {
  const root = join(site.dir, 'server');
  await mkdir(join(root, 'exchange', 'incoming'), { recursive: true });
  await mkdir(join(root, 'exchange', 'signed'), { recursive: true });
  await run('git', ['init', '--quiet', '--bare', '--initial-branch=main', join(root, 'control.git')]);
  const authority = await startTimestampAuthority({ identity: site.pki.timestamping });
  const permitOpen = via === 'ssh' ? [new URL(authority.url).host] : [];
  const host = await startSshHost({ root, authorizedKeys: site.authorizedKeys, permitOpen });
  await writeFileAtomically(join(site.dir, 'keys', 'known_hosts'), host.hostKeyLine);
  await writeFileAtomically(join(site.dir, 'tsa.pem'), toPem([site.pki.root.certificate]));
  const at = `sandbox@127.0.0.1:${host.port}`;
  await writeConfigs(site, {
    control: `ssh://${at}/control.git`,
    exchange: `sftp://${at}/exchange`,
    timestamp: [{ url: authority.url, via }],
    timestampRoots: 'tsa.pem',
    ssh: true,
  });
  return {
    close: async () => {
      await host.close();
      await authority.close();
    },
  };
}

/** Runs a courier while `work` lasts, if the demo's timestamps come by one. */
async function withDemoCourier<T>(site: SandboxSite, via: string, work: () => Promise<T>): Promise<T> {
  if (via !== 'courier') return work();
  const stop = new AbortController();
  const config = await loadCourierConfig(site.courierConfig);
  const carried = withCourier(config, pino({ enabled: false }), (courier) => courier.watch(stop.signal));
  try {
    return await work();
  } finally {
    stop.abort();
    await carried;
  }
}

/** Does some work with the demo's builder configuration. */
async function asBuilder<T>(
  site: SandboxSite,
  options: CommonOptions,
  work: (session: BuilderSession) => Promise<T>,
): Promise<T> {
  const reporting = { progress: await progressFor(options), say: () => {} };
  return withSession(await loadBuilderConfig(site.builderConfig), reporting, work);
}

async function submitZip(site: SandboxSite, options: CommonOptions): Promise<string> {
  return asBuilder(site, options, (session) =>
    submit(session, [join(site.dir, 'unsigned.zip')], { revision: 'demo', as: SAMPLE_NAME }),
  );
}

async function answerOnce(site: SandboxSite, options: CommonOptions): Promise<string[]> {
  const lines: string[] = [];
  const log = pino(
    { base: null },
    { write: (record: string) => lines.push((JSON.parse(record) as { msg: string }).msg) },
  );
  const signerContext = await openSignerContext(await loadSignerConfig(site.signerConfig), {
    log,
    progress: await progressFor(options),
  });
  try {
    await new RequestPoller(signerContext).poll();
    return lines;
  } finally {
    await signerContext.close();
  }
}

async function downloadResult(site: SandboxSite, request: string, options: CommonOptions): Promise<Waited> {
  const folder = join(site.dir, 'download');
  try {
    const waited = await asBuilder(site, options, (session) =>
      wait(session, request, { timeout: 60_000, output: folder, allowTest: true }),
    );
    const [file] = waited.files;
    if (file !== undefined) await rename(file, join(site.dir, 'signed.zip'));
    return waited;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function checkSigned({ dir, pki }: SandboxSite): Promise<string[]> {
  return withTempFolder(async (scratch) => {
    const roots = [pki.root.certificate];
    const report = await verifyFile(join(dir, 'signed.zip'), {
      limits: DEFAULT_LIMITS,
      scratch,
      roots,
      timestampRoots: roots,
    });
    const proof = await proveFile(join(dir, 'unsigned.zip'), join(dir, 'signed.zip'), {
      limits: DEFAULT_LIMITS,
      scratch,
    });
    const good = report.programs.filter(({ status }) => status === 'ok').length;
    return [
      `${good} programs are signed and timestamped under the demo's root`,
      `signed.zip is unsigned.zip plus ${proof.signed.length} signatures, and nothing else`,
    ];
  });
}

/** Keeps the repository and the exchange as folders, and configurations that use them without any host. */
async function keepResults(site: SandboxSite): Promise<void> {
  const { dir } = site;
  await rename(join(dir, 'server', 'control.git'), join(dir, 'control.git'));
  await rename(join(dir, 'server', 'exchange'), join(dir, 'exchange'));
  await rm(join(dir, 'server'), { recursive: true });
  for (const state of ['signer-state', 'builder-state', 'courier-state'])
    await rm(join(dir, state), { recursive: true, force: true });
  await writeConfigs(site, {
    control: `file://${dir}/control.git`,
    exchange: `file://${dir}/exchange`,
    timestamp: [],
    timestampRoots: 'tsa.pem',
    ssh: false,
  });
}

const tryNext = (dir: string): string[] => [
  'Look closer:',
  `  git -C ${dir}/control.git log --graph --all`,
  `  git -C ${dir}/control.git show signed:receipt.json`,
  `  signpipe verify ${dir}/signed.zip --ca ${dir}/ca.pem --timestamp-ca ${dir}/tsa.pem --original ${dir}/unsigned.zip`,
  `  signpipe audit --repo ${dir}/control.git --allowed-signers ${dir}/keys/audit_signers`,
  'Request another signature, and answer it (without any host: the folders are used directly):',
  `  signpipe submit -c ${dir}/builder.yaml ${dir}/unsigned.zip`,
  `  signpipe watch -c ${dir}/signer.yaml --once`,
];

/** Submits, signs, downloads and checks unsigned.zip; each step prints what happened. */
async function runPipeline(story: Story, site: SandboxSite, options: DemoCommandOptions): Promise<void> {
  const request = await story.step(
    'The build master uploads the zip and commits its name and digest',
    () => submitZip(site, options),
    (id) => [`request ${id}`],
  );
  await story.step(
    'The signer polls, fetches, signs, verifies, delivers, commits a receipt',
    () => withDemoCourier(site, options.timestampVia, () => answerOnce(site, options)),
    (lines) => lines.map((line) => printable(line)),
  );
  await story.step(
    'The build master checks the receipt and downloads signed.zip',
    () => downloadResult(site, request, options),
    ({ commit }) => [`receipt ${commit}`],
  );
  await story.step(
    'Anyone can check it',
    () => checkSigned(site),
    (lines) => lines,
  );
}

async function play(dir: string, zip: string | undefined, options: DemoCommandOptions): Promise<void> {
  const story = new Story(options.quiet === true);
  await story.step(
    'A release is built: unsigned.zip',
    () => prepareZip(dir, zip),
    (lines) => lines,
  );
  const site = await story.step('Throw-away keys, a test certificate authority, a control repository', () =>
    layOutSite(dir),
  );
  const hosts = await story.step(
    `An SSH host for Git and files, a timestamp authority, both on the loopback${VIA_TEXTS[options.timestampVia]}`,
    () => startHosts(site, options.timestampVia),
  );
  try {
    await runPipeline(story, site, options);
  } finally {
    await hosts.close();
  }
  await keepResults(site);
  const { stdout } = await run('git', ['-C', join(dir, 'control.git'), 'log', '-1', '--stat=100', 'signed']);
  print(`\nThe receipt, as "git log" shows it:\n\n${stdout.replace(/^/gm, '  ').trimEnd()}\n`);
}

/** `signpipe demo`: runs the whole pipeline on this machine. */
export async function demoCommand(zip: string | undefined, options: DemoCommandOptions): Promise<number> {
  const temporary = options.dir === undefined ? await mkdtemp(join(tmpdir(), 'signpipe-demo-')) : null;
  const dir = temporary ?? (await emptyFolder(options.dir ?? ''));
  try {
    await play(dir, zip, options);
  } catch (error) {
    if (temporary !== null) await rm(temporary, { recursive: true, force: true });
    throw error;
  }
  print([...tryNext(dir), '', `Everything is in ${dir}`].join('\n'));
  return 0;
}
