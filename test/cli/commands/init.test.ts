import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  appendFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { DEFAULT_LIMITS } from '../../../src/lib/zip/limits.ts';
import { initCommand, type InitCommandOptions } from '../../../src/cli/commands/init.ts';
import { loadAuditorConfig } from '../../../src/app/config/auditor.ts';
import { loadCourierConfig } from '../../../src/app/config/courier.ts';
import { loadBuilderConfig, loadVoucherConfig } from '../../../src/app/config/builder.ts';
import { loadSignerConfig } from '../../../src/app/config/signer.ts';
import { AllowedSigners } from '../../../src/lib/sshsig/allowed-signers.ts';
import { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { listRequests } from '../../../src/protocol/control/request.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { openPfxKey } from '../../../src/engine/keys/pfx.ts';
import { readPassphraseFile } from '../../../src/engine/keys/passphrase.ts';
import { proveFile } from '../../../src/engine/artifact/prove-file.ts';
import { KnownHosts } from '../../../src/lib/ssh/known-hosts.ts';
import { openChannels, openReceiptWriter } from '../../../src/app/signer/context/signer-context.ts';
import { buildPe } from '../../fixtures/pe.ts';
import { startSshd, type Sshd } from '../../world/sshd.ts';
import { signpipe } from './cli.ts';

const run = promisify(execFile);
const example = join(import.meta.dirname, '../../../keys.example');

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-init-'));
});
after(() => rm(folder, { recursive: true, force: true }));

const at = (...names: string[]): string => join(folder, ...names);
const silent = (): void => {};

async function init(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await signpipe('init', ...args);
  assert.equal(status, 0, stderr);
  return stdout;
}

/** Asserts that init refuses in this process, before anything is printed; returns the message. */
async function refused(
  code: string,
  what: string,
  dir: string,
  options: InitCommandOptions = {},
): Promise<string> {
  let message = '';
  await assert.rejects(initCommand(what, dir, options), (error) => {
    assert.ok(error instanceof SignpipeError, String(error));
    assert.deepEqual([error.code, error.kind], [code, 'usage'], error.message);
    message = error.message;
    return true;
  });
  return message;
}

/** Name, permission bits and content of everything below a folder. */
async function inventory(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const lines = entries.map(async (entry) => {
    const path = join(entry.parentPath, entry.name);
    const { mode } = await stat(path);
    return `${(mode & 0o777).toString(8)} ${path} ${entry.isFile() ? (await readFile(path)).toString('base64') : ''}`;
  });
  return (await Promise.all(lines)).sort();
}

const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

/** The lines that differ from the example: what init wrote. */
async function changesTo(path: string, name: string): Promise<string[]> {
  const original = new Set((await readFile(join(example, name), 'utf8')).split('\n'));
  return (await readFile(path, 'utf8')).split('\n').filter((line) => !original.has(line));
}

describe('init signer', () => {
  let printed = '';
  before(async () => {
    printed = await init('signer', at('signer'), '--name', 'Example Signer', '--email', 'sign@example.org');
  });

  it('writes the example with only the values of the site changed, and it loads', async () => {
    const config = await loadSignerConfig(at('signer/signer.yaml'));
    assert.equal(config.receipts.name, 'Example Signer');
    assert.deepEqual([...config.channels.keys()], ['default']);
    const changes = await changesTo(at('signer/signer.yaml'), 'signer.yaml');
    assert.deepEqual(
      changes.filter((line) => !line.trimStart().startsWith('#')),
      ['  name: Example Signer', 'channels: {}'],
    );
  });

  it('creates keys that only their owner can read', async () => {
    assert.equal(await modeOf(at('signer/keys')), 0o700);
    for (const name of ['signer_ed25519', 'receipts_ed25519', 'passphrase'])
      assert.equal(await modeOf(at('signer/keys', name)), 0o600, name);
    for (const name of ['signer_ed25519', 'receipts_ed25519']) {
      const { stdout } = await run('ssh-keygen', ['-y', '-f', at('signer/keys', name)]);
      assert.ok((await readFile(at('signer/keys', `${name}.pub`), 'utf8')).startsWith(stdout.trim()));
      await run('ssh-keygen', ['-l', '-f', at('signer/keys', `${name}.pub`)]);
    }
  });

  it('lists no allowed signer and no host key', async () => {
    assert.equal((await AllowedSigners.load(at('signer/keys/allowed_signers'))).signers.length, 0);
    const hosts = await KnownHosts.load(at('signer/keys/known_hosts'));
    assert.deepEqual(hosts.lookup('build.example.org').pinned, []);
  });

  it('creates no certificate, and says where to install it', async () => {
    await assert.rejects(stat(at('signer/keys/codesign.pfx')));
    assert.match(printed, /install -m 600 YOUR\.pfx \S+\/signer\/keys\/codesign\.pfx/);
    await assert.rejects(readPassphraseFile(at('signer/keys/passphrase'), silent), /first line is empty/);
  });

  it('prints the lines that others need, with the actual keys', async () => {
    const identity = (await readFile(at('signer/keys/signer_ed25519.pub'), 'utf8')).trim();
    const receipts = (await readFile(at('signer/keys/receipts_ed25519.pub'), 'utf8')).split(' ')[1] ?? '';
    assert.ok(
      printed.includes(
        `restrict,command="SIGNPIPE_USER=example-signer SIGNPIPE_ROLE=signer exec git-shell -c \\"$SSH_ORIGINAL_COMMAND\\"" ${identity}\n`,
      ),
    );
    assert.ok(printed.includes(`     restrict ${identity}\n`));
    assert.ok(printed.includes(`sign@example.org namespaces="git" ssh-ed25519 ${receipts}\n`));
  });

  it('prints no private key', async () => {
    const secret = (await readFile(at('signer/keys/signer_ed25519'), 'utf8')).split('\n')[3] ?? '';
    assert.ok(secret.length > 20 && !printed.includes(secret));
  });
});

describe('init signer --test-certificate', () => {
  const places = ['--control', 'file:///srv/c.git', '--exchange', 'file:///srv/x'];
  before(() => init('signer', at('trial'), '--test-certificate', ...places));

  it('creates a certificate marked as a test, with a random passphrase', async () => {
    const passphrase = await readPassphraseFile(at('trial/keys/passphrase'), assert.fail);
    assert.ok(passphrase.length >= 32);
    const key = await openPfxKey({ path: at('trial/keys/codesign.pfx'), passphrase });
    assert.ok(key.certificates[0]?.isTest && key.certificates[0].isSelfIssued);
    assert.equal(await modeOf(at('trial/keys/codesign.pfx')), 0o600);
    const { stdout } = await run('openssl', [
      'pkcs12', '-in', at('trial/keys/codesign.pfx'), '-nokeys', '-passin', `file:${at('trial/keys/passphrase')}`,
    ]); // prettier-ignore
    assert.match(stdout, /TEST certificate, do not trust/);
  });

  it('creates a site whose keys and channels all open', async () => {
    const config = await loadSignerConfig(at('trial/signer.yaml'));
    assert.deepEqual([config.control.url, config.exchange.url], ['file:///srv/c.git', 'file:///srv/x']);
    const channels = await openChannels(config, { now: new Date(), warn: assert.fail });
    assert.deepEqual([channels.get('default')?.test, channels.get('default')?.timestamper], [true, null]);
    await openReceiptWriter(config, assert.fail);
  });
});

describe('init builder', () => {
  let printed = '';
  before(async () => {
    const name = 'Build Master: "nightly" #1';
    printed = await init('builder', at('builder'), '--name', name, '--email', 'b@example.org');
  });

  it('writes the example with only the values of the site changed, and it loads', async () => {
    const { requests, vouch, trust } = await loadBuilderConfig(at('builder/builder.yaml'));
    assert.deepEqual([requests.name, requests.email], ['Build Master: "nightly" #1', 'b@example.org']);
    assert.equal(vouch?.name, 'build-master-nightly-1');
    assert.equal((await AllowedSigners.load(trust.allowedSigners)).signers.length, 0);
    assert.equal((await changesTo(at('builder/builder.yaml'), 'builder.yaml')).length, 3);
    assert.equal(await modeOf(at('builder/keys/builder_ed25519')), 0o600);
  });

  it('prints the line for the signer’s allowed signers, and it permits the key', async () => {
    const key = (await readFile(at('builder/keys/builder_ed25519.pub'), 'utf8'))
      .split(' ')
      .slice(0, 2)
      .join(' ');
    const line = `b@example.org namespaces="git" ${key}`;
    assert.ok(printed.includes(`     ${line}\n`));
    assert.equal(AllowedSigners.parse(line, 'line').signers.length, 1);
  });

  it('uses account and machine as its identity by default', async () => {
    await init('builder', at('nameless'), '--quiet');
    assert.equal((await loadBuilderConfig(at('nameless/builder.yaml'))).requests.name, 'signpipe builder');
  });
});

describe('init voucher', () => {
  const dir = (): string => at('voucher');
  let said = '';
  before(async () => {
    const bob = ['--name', 'Bob Example', '--email', 'bob@example.org'];
    said = await init('voucher', dir(), ...bob, '--control', 'ssh://git@build.example.org/srv/control.git');
  });

  it('writes a configuration that loads, without an exchange', async () => {
    const config = await loadVoucherConfig(join(dir(), 'voucher.yaml'));
    assert.equal(config.exchange, undefined);
    assert.deepEqual(config.vouch, { name: 'bob-example' });
    assert.equal(config.requests.email, 'bob@example.org');
  });

  it('prints the line for the Git account, in the role of a voucher of that name, and none for an exchange', () => {
    assert.match(said, /SIGNPIPE_USER=bob-example SIGNPIPE_ROLE=voucher /);
    assert.doesNotMatch(said, /exchange|SIGNPIPE_ROLE=builder/);
  });

  it('init-exchange: a voucher has no exchange', async () => {
    for (const what of ['voucher', 'auditor', 'courier'])
      await refused('init-exchange', what, at('none'), { exchange: 'sftp://a@b/c' });
  });

  it('config-invalid: vouch.name is missing, or a voucher runs submit', async () => {
    const file = join(dir(), 'voucher.yaml');
    const [submitted, nameless] = [await signpipe('submit', '-c', file, file), at('nameless.yaml')];
    assert.equal(submitted.status, 2);
    assert.match(submitted.stderr, /exchange: is missing \[config-invalid\]|exchange: is missing/);
    await writeFile(nameless, (await readFile(file, 'utf8')).replace(/^vouch:\n.*\n/m, ''));
    const vouched = await signpipe('vouch', '-c', nameless, file);
    assert.equal(vouched.status, 2);
    assert.match(vouched.stderr, /vouch: is missing/);
  });
});

describe('init auditor', () => {
  it('writes a configuration that loads, and prints a line that lets the key only read', async () => {
    const said = await init(
      'auditor',
      at('auditor'),
      '--control',
      'ssh://git@build.example.org/srv/control.git',
    );
    const { control, trust } = await loadAuditorConfig(at('auditor/auditor.yaml'));
    assert.equal(control.url, 'ssh://git@build.example.org/srv/control.git');
    assert.equal((await AllowedSigners.load(trust.allowedSigners)).signers.length, 0);
    assert.match(said, /SIGNPIPE_ROLE= exec git-shell/);
    assert.match(said, /signpipe audit -c .*auditor\.yaml/);
  });
});

describe('init courier', () => {
  it('writes a configuration that loads, and prints the line with its role', async () => {
    const said = await init('courier', at('courier'), '--name', 'Example Courier');
    const { name, authorities } = await loadCourierConfig(at('courier/courier.yaml'));
    assert.equal(name, 'Example Courier');
    assert.ok(authorities.length > 0);
    assert.match(said, /SIGNPIPE_USER=example-courier SIGNPIPE_ROLE=courier /);
    assert.doesNotMatch(said, /exchange/);
  });
});

describe('init control', () => {
  before(() => init('control', at('host')));

  it('creates a bare repository whose first commit is not a request', async () => {
    const repository = await ControlRepository.openExisting(at('host/control.git'));
    try {
      const { requests, receipts } = await repository.heads();
      assert.ok(requests);
      assert.equal(receipts, null);
      assert.deepEqual(await listRequests(repository, requests), []);
      assert.deepEqual(
        (await repository.readTree((await repository.readCommit(requests)).tree)).map(({ name }) => name),
        ['README.md', 'zipname.example'],
      );
    } finally {
      repository.close();
    }
    await run('git', ['-C', at('host/control.git'), 'fsck', '--strict']);
  });

  it('can be cloned and checked out', async () => {
    await run('git', ['clone', '-q', at('host/control.git'), at('clone')]);
    assert.match(await readFile(at('clone/README.md'), 'utf8'), /^# Control repository/);
  });

  it('has the hooks and safe settings, and allows no local pushes', async () => {
    const { stdout } = await run('git', ['-C', at('host/control.git'), 'config', '--list', '--local']);
    for (const line of [
      'receive.denydeletes=true',
      'receive.denynonfastforwards=true',
      'receive.fsckobjects=true',
    ])
      assert.ok(stdout.split('\n').includes(line), line);
    assert.doesNotMatch(stdout, /signpipe\.local/);
    assert.equal((await modeOf(at('host/control.git/hooks/update'))) & 0o111, 0o111);
  });

  it('has the exchange beside it', async () => {
    assert.deepEqual((await readdir(at('host/exchange'))).sort(), ['incoming', 'signed']);
  });

  it('names its own exchange in the next steps if the control repository is a local folder', async () => {
    const output = await init('control', at('local'), '--control', `file://${at('local/control.git')}`);
    assert.match(output, new RegExp(`init signer signer .* --exchange file://${at('local/exchange')}$`, 'm'));
    assert.doesNotMatch(output, /example\.org/);
  });
});

describe('init refuses', () => {
  it('init-exists: files exist already, and nothing is changed', async () => {
    await init('builder', at('twice'), '--quiet');
    const before = await inventory(at('twice'));
    const { status, stdout, stderr } = await signpipe('init', 'builder', at('twice'));
    assert.deepEqual([status, stdout], [2, '']);
    assert.ok(stderr.includes(at('twice/builder.yaml')) && stderr.includes('[init-exists]'), stderr);
    assert.deepEqual(await inventory(at('twice')), before);
  });

  const places = [
    'signer.yaml',
    'keys/signer_ed25519',
    'keys/receipts_ed25519.pub',
    'keys/known_hosts',
    'keys/codesign.pfx',
  ];
  for (const [i, name] of places.entries())
    it(`init-exists: ${name} alone`, async () => {
      const dir = at(`partly${i}`);
      await mkdir(join(dir, 'keys'), { recursive: true });
      await writeFile(join(dir, name), 'precious');
      const said = await refused('init-exists', 'signer', dir, { testCertificate: true });
      assert.ok(said.includes(join(dir, name)), said);
      assert.equal((await inventory(dir)).length, 2);
      assert.equal(await readFile(join(dir, name), 'utf8'), 'precious');
    });

  it('init-exists: a dangling link, through which init would write', async () => {
    await mkdir(at('linked'));
    await symlink(at('elsewhere'), at('linked/signer.yaml'));
    await refused('init-exists', 'signer', at('linked'));
    await assert.rejects(stat(at('elsewhere')));
  });

  it('init-exists: a control repository', async () => {
    await mkdir(at('occupied/control.git'), { recursive: true });
    await refused('init-exists', 'control', at('occupied'));
    assert.deepEqual(await readdir(at('occupied')), ['control.git']);
  });

  it('init-not-a-folder: a file where a folder should be', async () => {
    await writeFile(at('a-file'), '');
    await refused('init-not-a-folder', 'builder', at('a-file'));
  });

  it('init-what, init-url, init-email, init-name, init-test-certificate: invalid arguments', async () => {
    await refused('init-what', 'everything', at('none'));
    await refused('init-what', 'constructor', at('none'));
    await refused('init-url', 'signer', at('none'), { control: 'https://example.org/c.git' });
    await refused('init-url', 'signer', at('none'), { exchange: 'ssh://host/x' });
    await refused('init-email', 'builder', at('none'), { email: 'a,b@example.org' });
    await refused('init-email', 'builder', at('none'), { email: '* namespaces="file"' });
    await refused('init-name', 'builder', at('none'), { name: 'a\nb' });
    await refused('init-test-certificate', 'builder', at('none'), { testCertificate: true });
    await assert.rejects(stat(at('none')));
  });
});

/** The line after the first one that matches `after` in the output of init. */
function lineAfter(printed: string, after: RegExp): string {
  const lines = printed.split('\n');
  const index = lines.findIndex((line) => after.test(line));
  assert.ok(index >= 0, `${String(after)} in\n${printed}`);
  return (lines[index + 1] ?? '').trim();
}

interface Site {
  readonly dir: string;
  readonly signer: string;
  readonly builder: string;
}

/** Sets up builder and signer, and follows the steps that init printed for each. */
async function setUpBoth(name: string, control: string, exchange: string): Promise<Site> {
  const urls = ['--control', control, '--exchange', exchange];
  const [signer, builder] = [
    await init('signer', at(name, 'signer'), '--test-certificate', '--email', 'sign@example.org', ...urls),
    await init('builder', at(name, 'builder'), '--email', 'build@example.org', ...urls),
  ];
  const [forBuilder, forSigner] = [
    lineAfter(signer, /for keys\/receipt_signers/),
    lineAfter(builder, /operator of the signer, for keys\/allowed_signers/),
  ];
  await appendFile(at(name, 'builder/keys/receipt_signers'), `${forBuilder}\n`);
  await appendFile(at(name, 'signer/keys/allowed_signers'), `${forSigner}\n`);
  return { dir: at(name), signer, builder };
}

/** Submits a program and asserts that it is returned signed. */
async function requireAnswer({ dir }: Site): Promise<void> {
  const program = join(dir, 'program.exe');
  await writeFile(program, buildPe());
  const builder = join(dir, 'builder/builder.yaml');
  const submitted = await signpipe('submit', '-c', builder, program);
  assert.equal(submitted.status, 0, submitted.stderr);
  const watched = await signpipe('watch', '-c', join(dir, 'signer/signer.yaml'), '--once');
  assert.equal(watched.status, 0, watched.stdout + watched.stderr);
  const request = submitted.stdout.trim();
  const output = join(dir, 'output');
  const waited = await signpipe(
    'wait', '-c', builder, request, '--timeout', '20s', '--output', output, '--allow-test-certificate',
  ); // prettier-ignore
  assert.equal(waited.status, 0, waited.stderr);
  const signed = join(output, 'program.exe');
  await proveFile(program, signed, { limits: DEFAULT_LIMITS, scratch: dir });
  const { stdout } = await run('osslsigncode', ['verify', '-in', signed]).catch(
    (error: { stdout: string }) => error,
  );
  assert.match(stdout, /Subject: .*TEST certificate, do not trust/);
}

describe('a whole site that init set up', () => {
  it('answers a request over a shared folder', async () => {
    const [control, exchange] = [
      `file://${at('folder/host/control.git')}`,
      `file://${at('folder/host/exchange')}`,
    ];
    await init('control', at('folder/host'), '--control', control, '--exchange', exchange);
    await requireAnswer(await setUpBoth('folder', control, exchange));
  });

  describe('over SSH, with the lines and commands that were printed', () => {
    // Two hosts, since one account cannot both be restricted to git and use SFTP.
    let [gitHost, filesHost]: Sshd[] = [];
    before(async () => {
      [gitHost, filesHost] = await Promise.all([startSshd(), startSshd()]);
    });
    after(() => Promise.all([gitHost?.stop(), filesHost?.stop()]));

    it('answers a request', async () => {
      assert.ok(gitHost && filesHost);
      await init('control', at('ssh/host'));
      const site = await setUpBoth(
        'ssh',
        gitHost.url(at('ssh/host/control.git'), 'ssh'),
        filesHost.url(at('ssh/host/exchange')),
      );
      for (const printed of [site.signer, site.builder]) {
        await gitHost.authorize(lineAfter(printed, /authorized_keys of .* \(control repository\)/));
        await filesHost.authorize(lineAfter(printed, /authorized_keys of .* \(exchange\)/));
        for (const command of printed.match(/ssh-keyscan .*$/gm) ?? []) await run('sh', ['-c', command]);
      }
      await requireAnswer(site);
    });
  });
});
