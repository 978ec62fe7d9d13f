import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { KeyUnavailable, type SigningKey } from '../../../../src/engine/keys/signing-key.ts';
import { createTestCertificate, type TestIdentity } from '../../../../src/sandbox/certificates.ts';
import { findModule } from '../../../../src/engine/keys/pkcs11/module-path.ts';
import { SoftHsm } from '../../../world/softhsm.ts';
import { moduleProcesses, openUri, signs, withKey } from './token-world.ts';

const root = fileURLToPath(new URL('../../../..', import.meta.url));

let hsm: SoftHsm;
let issuer: TestIdentity;
const codesign = { label: 'codesign', id: '01', type: 'EC:secp256r1' };
before(async () => {
  hsm = await SoftHsm.create();
  issuer = await createTestCertificate({ commonName: 'Root', purpose: 'authority' });
  await hsm.makeKey(codesign);
  await hsm.certify(codesign, { issuer });
});
after(() => hsm.remove());

const uri = (more = ''): string => hsm.uri('token=release;object=codesign', { more });

async function fails(key: SigningKey, code: string): Promise<void> {
  await assert.rejects(signs(key), (error: unknown) => {
    assert.ok(error instanceof KeyUnavailable, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  });
}

function onlyChild(): number {
  const [child, another] = moduleProcesses();
  assert.ok(child && !another);
  return child.pid;
}

async function gone(pid: number): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (
    await readFile(`/proc/${pid}/stat`, 'latin1').then(
      (stat) => !/\) Z /.test(stat),
      () => false,
    )
  ) {
    assert.ok(Date.now() < deadline, 'the process has not ended');
    await sleep(20);
  }
}

/** Waits until a process for modules has loaded pkcs11-spy, which then waits for a reader of its log. */
async function loading(parent: number | undefined): Promise<void> {
  const deadline = Date.now() + 60_000;
  const loaded = (): Promise<boolean> => {
    const pid = moduleProcesses(parent)[0]?.pid;
    return readFile(`/proc/${pid}/maps`, 'latin1').then(
      (maps) => maps.includes('pkcs11-spy'),
      () => false,
    );
  };
  while (!(await loaded())) {
    assert.ok(Date.now() < deadline, 'the module was not loaded');
    await sleep(50);
  }
  await sleep(200);
}

/** Logs each call of SoftHSM's module into a file. */
async function spied(output: string): Promise<{ readonly module: string; readonly more: string }> {
  process.env['PKCS11SPY'] = hsm.module;
  process.env['PKCS11SPY_OUTPUT'] = output;
  const module = await findModule('pkcs11-spy');
  assert.ok(module !== undefined);
  return { module, more: '&x-environment=PKCS11SPY,PKCS11SPY_OUTPUT' };
}

describe('a token that is lost', () => {
  it('token-missing: while it is away; then signing goes on', () =>
    withKey(uri(), async (key) => {
      await signs(key);
      const putBack = await hsm.pullOut();
      process.kill(onlyChild(), 'SIGKILL');
      await fails(key, 'token-missing');
      await fails(key, 'token-missing');
      await putBack();
      await signs(key);
    }));

  it('is connected again if its objects are gone from the running module', () =>
    withKey(uri(), async (key) => {
      await signs(key);
      const child = onlyChild();
      const putBack = await hsm.pullOut();
      await signs(key).catch((error: unknown) => assert.ok(error instanceof KeyUnavailable));
      await putBack();
      await signs(key);
      if (onlyChild() !== child) await gone(child);
    }));

  it('key-does-not-match: another token with another key is there in its place', async () => {
    const key = await openUri(uri());
    await signs(key);
    const putBack = await hsm.pullOut();
    await hsm.addToken('release');
    await hsm.makeKey(codesign);
    process.kill(onlyChild(), 'SIGKILL');
    await assert.rejects(signs(key), { code: 'key-does-not-match', kind: 'local' });
    await putBack();
    await signs(key);
    await key.close();
  });
});

describe('the process of a module', () => {
  it('is started again if it was killed, also in the middle of many signatures', () =>
    withKey(uri('&x-sessions=4'), async (key) => {
      await signs(key);
      process.kill(onlyChild(), 'SIGKILL');
      await signs(key);
      const many = Array.from({ length: 100 }, () => signs(key));
      await many[10];
      process.kill(onlyChild(), 'SIGKILL');
      await Promise.all(many);
      onlyChild();
    }));

  it('token-hangs: it does not answer in time; it is ended, and the next signature works', () =>
    withKey(uri('&x-timeout=4'), async (key) => {
      await signs(key);
      const child = onlyChild();
      process.kill(child, 'SIGSTOP');
      await fails(key, 'token-hangs');
      await gone(child);
      await signs(key);
    }));

  it('token-hangs: the module hangs while it is loaded', async () => {
    execFileSync('mkfifo', [hsm.at('fifo')]);
    const { module, more } = await spied(hsm.at('fifo'));
    const opening = openUri(hsm.uri('token=release', { module, more: `${more}&x-timeout=2` }));
    await assert.rejects(opening, { code: 'token-hangs', kind: 'unavailable' });
    for (const { pid } of moduleProcesses()) await gone(pid);
    assert.deepEqual(moduleProcesses(), []);
  });

  for (const hangs of [false, true])
    it(`ends with the signer that is killed${hangs ? ', also while the module hangs' : ''}`, async () => {
      const { module, more } = await spied(hsm.at('fifo'));
      const open = new URL('../../../../src/engine/keys/pkcs11/open.ts', import.meta.url).href;
      const key = hangs ? hsm.uri('token=release', { module, more }) : uri();
      await writeFile(
        hsm.at('signer.mjs'),
        `import { openPkcs11Key } from ${JSON.stringify(open)};
        setInterval(() => {}, 1000);
        await openPkcs11Key({ uri: ${JSON.stringify(key)}, warn() {} });
        console.log('open');`,
      );
      const signer = spawn(process.execPath, ['--import', 'tsx', hsm.at('signer.mjs')], {
        cwd: root,
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const exited = once(signer, 'exit');
      if (hangs) await loading(signer.pid);
      else await once(signer.stdout, 'data');
      const [child] = moduleProcesses(signer.pid);
      assert.ok(child);
      signer.kill('SIGKILL');
      await exited;
      await gone(child.pid);
    });
});

describe('one login', () => {
  it('serves 1,000 signatures', async () => {
    const log = hsm.at('spy.log');
    const { module, more } = await spied(log);
    await withKey(
      hsm.uri('token=release;object=codesign', { module, more: `${more}&x-sessions=4` }),
      async (key) => {
        await Promise.all(Array.from({ length: 1000 }, () => signs(key)));
      },
    );
    const calls = await readFile(log, 'latin1');
    const count = (name: string): number => calls.split(`: ${name}\n`).length - 1;
    assert.deepEqual([count('C_Login'), count('C_Sign'), count('C_OpenSession')], [1, 1000, 4]);
  });
});
