/**
 * Secrets that are marked: passphrases, PINs, tokens and passwords, wherever a signer takes them from. Nothing that it
 * writes, logs, sends or hands to another program may show one.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { generateKey } from 'openpgp';
import { after, before, describe, it } from 'node:test';
import { keyToPem, toPem } from '../../../src/sandbox/certificates.ts';
import { toPfx } from '../../../src/sandbox/pkcs12-writer.ts';
import { RecordedChildren } from '../../world/recorded-children.ts';
import { gitEnvironment, signpipe, World, type Ended } from '../../world/site.ts';
import { PIN, SoftHsm } from '../../world/softhsm.ts';
import { soundZip } from './test-signer.ts';

const run = promisify(execFile);

/** A secret has this in it, in whatever form it appears. */
const MARK = 'mArKeD';

const SECRETS = {
  variable: `${MARK}-variable-1`,
  file: `${MARK}-file-2`,
  receipts: `${MARK}-receipts-3`,
  aws: `${MARK}-aws-4`,
  azure: `${MARK}-azure-5`,
  proxy: `${MARK}-proxy-6`,
  authority: `${MARK}-authority-7`,
  github: `${MARK}-github-8`,
  ssh: `${MARK}-ssh-9`,
  openpgp: `${MARK}-openpgp-10`,
} as const;

/** Each secret as it is, and as it looks in base64 and in a Basic authorization. */
const forms = (secret: string): string[] => [
  secret,
  Buffer.from(secret).toString('base64').replace(/=+$/, ''),
  Buffer.from(`user:${secret}`).toString('base64').replace(/=+$/, ''),
];
const FORMS = [...Object.values(SECRETS), PIN].flatMap(forms);

const shown = (text: string): string[] => FORMS.filter((form) => text.includes(form));

function assertSilent(what: string, text: string): void {
  const at = shown(text).map((form) => text.slice(Math.max(0, text.indexOf(form) - 80), text.indexOf(form)));
  assert.deepEqual(at, [], `${what} shows a secret after this text`);
}

let world: World;
let hsm: SoftHsm;
let children: RecordedChildren;
/** A proxy that opens no tunnel. */
let proxy: Server;
let environment: NodeJS.ProcessEnv;
const ended = new Map<string, Ended>();

/** Keys for checksum files, each with a passphrase. */
async function plantChecksumKeys(): Promise<void> {
  const keys = (name: string): string => world.at('keys', name);
  await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', SECRETS.ssh, '-f', keys('checksums_ed25519')]);
  await writeFile(keys('checksums_passphrase'), `${SECRETS.ssh}\n`, { mode: 0o600 });
  const { privateKey } = await generateKey({
    userIDs: [{ name: 'Releases' }],
    passphrase: SECRETS.openpgp,
    format: 'armored',
  });
  await writeFile(keys('openpgp.asc'), privateKey, { mode: 0o600 });
  await writeFile(keys('openpgp_passphrase'), `${SECRETS.openpgp}\n`, { mode: 0o600 });
}

/** A key of each kind, on a channel of its own. */
async function plantSecrets(): Promise<void> {
  const { codeSigning } = world.site.pki;
  const keys = (name: string): string => world.at('keys', name);
  await writeFile(keys('codesign.pfx'), toPfx(codeSigning, SECRETS.file, 'Sandbox'), { mode: 0o600 });
  await writeFile(keys('passphrase'), `${SECRETS.file}\n`, { mode: 0o600 });
  await writeFile(keys('chain.pem'), toPem(codeSigning.chain));
  await writeFile(keys('variable.key'), keyToPem(codeSigning.key, SECRETS.variable), { mode: 0o600 });
  await writeFile(keys('plain.key'), keyToPem(codeSigning.key), { mode: 0o600 });
  const wrapper = await readFile(join(import.meta.dirname, '../../../keys.example/sign-openssl'));
  await writeFile(keys('sign'), wrapper);
  await chmod(keys('sign'), 0o755);
  await run('ssh-keygen', ['-p', '-q', '-P', '', '-N', SECRETS.receipts, '-f', keys('receipts_ed25519')]);
  await writeFile(keys('receipts_passphrase'), `${SECRETS.receipts}\n`, { mode: 0o600 });
  hsm = await SoftHsm.create();
  await hsm.makeKey({ label: 'codesign', id: '01' });
  await hsm.certify({ label: 'codesign', id: '01' }, { issuer: world.site.pki.root });
}

async function configureChannels(): Promise<void> {
  const chain = 'certificate: keys/chain.pem';
  // One authority that has a password and is behind a proxy with a password, which opens no tunnel.
  const locked = `https://user:${SECRETS.authority}@authority.example/`;
  await world.reconfigure((text) =>
    text
      .replace('timestamp: [', `timestamp: ["${locked}", `)
      .replace('key: keys/receipts_ed25519', '$&\n  passphraseFile: keys/receipts_passphrase')
      .replace(/^retry:.*$/m, 'retry: { attempts: 1, wait: 0 }'),
  );
  await world.configure(`checksums:
  openpgp: { key: keys/openpgp.asc, passphraseFile: keys/openpgp_passphrase }
  ssh: { key: keys/checksums_ed25519, passphraseFile: keys/checksums_passphrase }
channels:
  variable: { signing: { ${chain}, key: keys/variable.key } }
  command: { signing: { ${chain}, command: [keys/sign, ${world.at('keys', 'plain.key')}] } }
  token: { signing: { key: "${hsm.uri('token=release;object=codesign')}" } }`);
}

before(async () => {
  world = await World.start();
  await plantSecrets();
  await plantChecksumKeys();
  await configureChannels();
  const folder = world.at('recorded');
  await mkdir(folder);
  children = new RecordedChildren(folder, ['git', 'ssh', 'flock', 'prlimit', 'openssl']);
  proxy = createServer()
    .on('connect', (_request, socket) => socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n'))
    .listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const { port } = proxy.address() as AddressInfo;
  environment = {
    PATH: children.path,
    SIGNPIPE_PASSPHRASE: SECRETS.variable,
    AWS_SECRET_ACCESS_KEY: SECRETS.aws,
    AZURE_CLIENT_SECRET: SECRETS.azure,
    GITHUB_TOKEN: SECRETS.github,
    https_proxy: `http://user:${SECRETS.proxy}@127.0.0.1:${port}`,
  };
  const channels = ['default', 'variable', 'command', 'token'];
  for (const channel of channels) {
    const file = world.at(`${channel}.zip`);
    await writeFile(file, soundZip(channels.indexOf(channel)));
    await world.submit([file], '--channel', channel);
  }
  const config = ['-c', world.site.signerConfig];
  const call = async (name: string, args: readonly string[], env = environment): Promise<void> =>
    void ended.set(name, await signpipe(args, { env }));
  await call('watch', ['watch', ...config, '--once', '-v']);
  await call('doctor', ['doctor', ...config, '-v']);
  const key = ['--certificate', world.at('keys', 'chain.pem'), '--key', world.at('keys', 'variable.key')];
  const wrong = { ...environment, SIGNPIPE_PASSPHRASE: SECRETS.github };
  await call('sign', ['sign', world.at('default.zip'), ...key, '--output', world.at('out.zip'), '-v'], wrong);
  children.stop();
});
after(async () => {
  children.stop();
  proxy.close();
  await hsm.remove();
  await world.stop();
});

/** Every file below a folder. */
async function files(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function assertFilesSilent(folder: string): Promise<void> {
  for (const file of await files(folder)) assertSilent(file, await readFile(file, 'latin1'));
}

describe('a signer with marked secrets', () => {
  it('has used each of them: every request is signed', async () => {
    assert.equal(ended.get('watch')?.status, 0, ended.get('watch')?.stdout);
    const log = await world.git('log', '--format=%B', 'signed');
    assert.equal(log.match(/^Outcome: signed$/gm)?.length, 4, log);
    assert.match(ended.get('watch')?.stdout ?? '', /authority\.example.*the proxy http:\/\/127\.0\.0\.1/);
    const kinds = await world.git('grep', '-h', '"kind"', 'signed~3', '--', 'receipt.json');
    for (const kind of ['openpgp', 'ssh']) assert.ok(kinds.includes(`"${kind}"`), kinds);
    assert.match(ended.get('sign')?.stderr ?? '', /\[key-passphrase-wrong\]/);
  });

  it('shows none in logs, reports and errors', () => {
    for (const [name, { stdout, stderr }] of ended) assertSilent(name, `${stdout}\n${stderr}`);
  });

  it('passes none to other programs, in arguments or environment', () => {
    const names = [...children.calls.keys()].join(' ');
    for (const program of ['git.', 'ssh.', 'flock.', 'openssl.']) assert.ok(names.includes(program), names);
    for (const [name, text] of children.calls) assertSilent(name, text);
  });

  it('writes none into the Git repository', async () => {
    const { stdout } = await run('git', ['-C', world.control, 'cat-file', '--batch', '--batch-all-objects'], {
      env: gitEnvironment(),
      maxBuffer: 64 * 2 ** 20,
      encoding: 'latin1',
    });
    assert.match(stdout, /receipt\.json/);
    assertSilent('an object', stdout);
  });

  it('writes none into the state folder', () => assertFilesSilent(world.at('signer-state')));

  it('writes none into the exchange', () => assertFilesSilent(world.exchange()));

  it('dumps no core, in which they would be', async () => {
    // A signer on the state folder of another world, since this one's limit must not be the test's.
    const script = `const { forbidCoreDumps } = await import(${JSON.stringify(
      join(import.meta.dirname, '../../../src/app/signer/context/core-limit.ts'),
    )}); console.log(await forbidCoreDumps(), (await import('node:fs')).readFileSync('/proc/self/limits', 'utf8'));`;
    const { stdout } = await run(process.execPath, [
      ...['--import', 'tsx', '--input-type=module', '-e', script],
    ]);
    assert.match(stdout, /^true /);
    assert.match(stdout, /^Max core file size +0 +0 /m);
    const unit = readFileSync(
      join(import.meta.dirname, '../../../pipeline/signer/signpipe-signer.service'),
      'utf8',
    );
    assert.match(unit, /^LimitCORE=0$/m);
  });
});
