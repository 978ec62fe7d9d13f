/** A signer whose exchange is not OpenSSH: it signs, or reports what is wrong before its key is used. */
import assert from 'node:assert/strict';
import { appendFile, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, before, describe, it } from 'node:test';
import { loadSignerConfig } from '../../../src/app/config/signer.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { checkSigner } from '../../../src/app/site/doctor/doctor.ts';
import type { SiteFinding } from '../../../src/app/site/doctor/check-result.ts';
import { receiptCommits, receiptFor, receiptsFor, startHostile } from '../../world/hostile.ts';
import { startOddSftp, type Oddities, type OddServer } from '../../world/odd-sftp.ts';

const { world, host } = await startHostile();
let server: OddServer | undefined;
let configs: [signer: string, builder: string];
before(async () => {
  configs = [
    await readFile(world.site.signerConfig, 'utf8'),
    await readFile(world.site.builderConfig, 'utf8'),
  ];
});
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

/** Configures such a server, with deliveries to {request}/{name} or as `delivered` says. */
async function using(odd: Oddities, delivered = '{request}/{name}'): Promise<OddServer> {
  server = await startOddSftp(odd);
  await appendFile(world.at('keys', 'known_hosts'), await readFile(server.ssh.knownHosts));
  const url = `url: ${server.url}\n`;
  const at = /url: file:\S+exchange\n/;
  await writeFile(world.site.signerConfig, configs[0].replace(at, `${url}  delivered: '${delivered}'\n`));
  await writeFile(world.site.builderConfig, configs[1].replace(at, url));
  return server;
}

/** A request for a release on the server. */
async function request(name: string): Promise<string> {
  assert.ok(server);
  const line = await host.release(name);
  await writeFile(join(server.root, 'incoming', name), await readFile(world.exchange('incoming', name)));
  return host.commit({ files: { zipname: line } });
}

const exchangeFindings = async (): Promise<SiteFinding[]> =>
  (await checkSigner(await loadSignerConfig(world.site.signerConfig))).filter(
    ({ check }) => check === 'exchange',
  );

const everything = async (): Promise<string[]> =>
  (await readdir(server?.root ?? '', { recursive: true })).sort();

describe('a signer signs, and wait downloads the file, over an SFTP server', () => {
  for (const [what, odd] of [
    ['whose attributes have no permissions', { attributes: 'no-permissions' }],
    ['that reports only the size of an open file', { attributes: 'size' }],
    ['without FSTAT', { unsupported: ['FSTAT'] }],
    ['that denies to remove what is not there', { remove: 'denied-if-missing' }],
    ['that deletes nothing', { remove: 'denied' }],
    ['whose first read fails', { failingReads: 1 }],
  ] as const)
    for (const delivered of ['{request}/{name}', '{name}'])
      it(`${what}, delivering to ${delivered}`, async () => {
        const { root } = await using(odd, delivered);
        if (delivered === '{name}') await writeFile(join(root, 'signed', 'a.zip'), 'an older one');
        const id = await request('a.zip');
        await world.poll();
        const receipt = await receiptFor(world, id);
        assert.equal(receipt.outcome, 'signed', JSON.stringify(receipt.reason));
        assert.equal((await world.wait(id)).status, 0);
      });
});

describe('doctor reports the truth about an SFTP server', () => {
  for (const [what, odd, codes] of [
    ['whose attributes have no permissions', { attributes: 'no-permissions' }, []],
    ['without FSTAT', { unsupported: ['FSTAT'] }, []],
    ['that deletes nothing', { remove: 'denied' }, ['warning exchange-keeps-files']],
    ['that does not rename', { unsupported: ['RENAME'] }, ['bad exchange-no-rename']],
    ['on which nothing can be written', { readOnly: true }, ['bad exchange-not-writable']],
  ] as const)
    it(`${what}, and leaves no temporary file`, async () => {
      await using(odd);
      const findings = await exchangeFindings();
      assert.deepEqual(
        findings.filter(({ status }) => status !== 'ok').map(({ status, code }) => `${status} ${code}`),
        codes,
      );
      assert.deepEqual(await everything(), ['incoming', 'signed']);
    });
});

describe('a delivery that cannot succeed is known before the key is used', () => {
  it('exchange-no-rename: the request waits, and is answered once the server renames', async () => {
    await using({ unsupported: ['RENAME'] });
    const id = await request('b.zip');
    await assert.rejects(world.poll(), (error) => {
      assert.ok(error instanceof SignpipeError);
      assert.deepEqual([error.code, error.kind], ['exchange-no-rename', 'usage']);
      return true;
    });
    assert.deepEqual(await receiptsFor(world, id), []);
    await server?.stop();
    await using({});
    await writeFile(
      join(server?.root ?? '', 'incoming', 'b.zip'),
      await readFile(world.exchange('incoming', 'b.zip')),
    );
    await host.signs(id);
  });

  /** Asserts that a request failed with the code, and nothing was signed. */
  async function assertUnsigned(id: string, code: string): Promise<void> {
    const receipt = await receiptFor(world, id);
    assert.deepEqual([receipt.outcome, receipt.reason?.code], ['failed', code]);
    const [commit = ''] = await receiptCommits(world, id);
    assert.doesNotMatch(await world.git('ls-tree', '-r', '--name-only', commit), /^signatures\//m);
  }

  it('exchange-permission-denied: the outgoing folder cannot be written', async () => {
    await using({ readOnly: true });
    const id = await request('c.zip');
    await world.poll();
    await assertUnsigned(id, 'exchange-permission-denied');
  });

  it('exchange-link: the outgoing folder of a shared folder is a link', async () => {
    await writeFile(world.site.signerConfig, configs[0]);
    await rm(world.exchange('signed'), { recursive: true });
    await mkdir(world.at('private'));
    await symlink(world.at('private'), world.exchange('signed'));
    const id = await host.request('d.zip');
    await world.poll();
    await assertUnsigned(id, 'exchange-link');
    const codes = (await exchangeFindings()).map(({ status, code }) => `${status} ${code}`);
    assert.deepEqual(codes, ['bad exchange-link']);
    assert.deepEqual(await readdir(world.at('private')), []);
  });
});
