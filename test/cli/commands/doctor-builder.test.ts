import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import type { SiteFinding } from '../../../src/app/site/doctor/check-result.ts';
import { signpipe, World } from '../../world/site.ts';

const run = promisify(execFile);
const main = resolve(import.meta.dirname, '../../../dist/main.js');

let world: World;
before(async () => {
  world = await World.start();
});
after(() => world.stop());

async function examine(config: string): Promise<{ exit: number; findings: SiteFinding[] }> {
  const { status, stdout } = await signpipe(['doctor', '-c', config, '--json']);
  return { exit: status, findings: (JSON.parse(stdout) as { findings: SiteFinding[] }).findings };
}

const problems = (findings: readonly SiteFinding[]): string[] =>
  findings.filter(({ status }) => status !== 'ok').map(({ status, code }) => `${status} ${code ?? ''}`);

describe('doctor for a builder', () => {
  it('checks what a builder does: reads signed files, writes unsigned ones, pushes requests', async () => {
    const { exit, findings } = await examine(world.site.builderConfig);
    assert.equal(exit, 0);
    assert.deepEqual(problems(findings), []);
    const said = findings.map(({ message }) => message).join('\n');
    assert.match(said, /; a builder$/m);
    assert.match(said, /a push to main can begin/);
    assert.match(said, /signed can be read/);
    assert.match(said, /incoming can be written/);
    assert.match(said, /1 key may sign receipts/);
    assert.deepEqual(await readdir(world.exchange('incoming')), []);
  });

  it('no-receipt-signer: the list of receipt keys is still empty', async () => {
    const list = world.at('keys', 'receipt_signers');
    const known = await readFile(list, 'utf8');
    await writeFile(list, '# nobody yet\n');
    const { exit, findings } = await examine(world.site.builderConfig);
    assert.equal(exit, 0);
    assert.deepEqual(problems(findings), ['warning no-receipt-signer']);
    await writeFile(list, known);
  });

  it('exits with 1 if the key file is missing', async () => {
    const key = world.at('keys', 'builder_ed25519');
    await rename(key, `${key}.away`);
    const { exit, findings } = await examine(world.site.builderConfig);
    assert.equal(exit, 1);
    assert.ok(findings.some(({ check, status }) => check === 'request key' && status === 'bad'));
    await rename(`${key}.away`, key);
  });
});

describe('doctor for a voucher', () => {
  it('checks the control repository and the key, but no exchange', async () => {
    const config = world.at('voucher.yaml');
    const text = await readFile(world.site.builderConfig, 'utf8');
    const { url } = /url: (?<url>ssh:\S+)/.exec(text)?.groups ?? {};
    await writeFile(
      config,
      `control: { url: "${url ?? ''}" }\nssh: { identity: keys/builder_ed25519, knownHosts: keys/known_hosts }\n` +
        'requests: { key: keys/builder_ed25519 }\nvouch: { name: bob }\n',
    );
    const { exit, findings } = await examine(config);
    assert.equal(exit, 0);
    assert.deepEqual(problems(findings), []);
    const said = findings.map(({ check, message }) => `${check}: ${message}`).join('\n');
    assert.match(said, /a push to vouch\/bob can begin/);
    assert.doesNotMatch(said, /exchange/);
    const list = world.at('absent_signers');
    await writeFile(config, `${await readFile(config, 'utf8')}trust: { allowedSigners: ${list} }\n`);
    assert.deepEqual(problems((await examine(config)).findings), ['bad allowed-signers-unreadable']);
  });
});

describe('doctor in a folder that its account cannot read', () => {
  it('reports the same as in another folder', async () => {
    const site = world.at('other-account');
    await signpipe(['init', 'control', join(site, 'srv'), '--control', `file://${site}/srv/control.git`]);
    const places = [
      '--control',
      `file://${site}/srv/control.git`,
      '--exchange',
      `file://${site}/srv/exchange`,
    ];
    await signpipe(['init', 'signer', join(site, 'signer'), '--test-certificate', ...places]);
    const closed = world.at('closed');
    await mkdir(closed);
    const enter = `cd '${closed}' && chmod 000 . && exec "$@"`;
    const doctor = [process.execPath, main, 'doctor', '-c', join(site, 'signer/signer.yaml'), '--quiet'];
    // Root can read every folder, so the test runs doctor as another account.
    const args =
      process.getuid?.() === 0 ? ['setpriv', '--reuid=65534', '--clear-groups', ...doctor] : doctor;
    if (process.getuid?.() === 0) {
      for (const folder of [world.sshd.folder, world.site.dir]) await chmod(folder, 0o755);
      for (const name of await readdir(site, { recursive: true })) await chown(join(site, name), 65534, 0);
      await chown(site, 65534, 0);
    }
    const { stdout } = await run('sh', ['-c', enter, 'sh', ...args]);
    await chmod(closed, 0o700);
    await rm(closed, { recursive: true });
    assert.match(stdout, /0 bad/);
  });
});
