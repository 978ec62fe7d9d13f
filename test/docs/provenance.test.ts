import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { generateKeyPairSync, sign } from 'node:crypto';
import { chmod, copyFile, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { preAuthEncoding } from '../../src/lib/dsse/envelope.ts';
import { sha256OfFile } from '../../src/lib/bytes/hash.ts';
import { loadSshSigner } from '../../src/lib/sshsig/ssh-signer.ts';
import { createZip } from '../../src/lib/zip/create-zip.ts';
import { makeSigningSetup } from '../engine/artifact/signing-setup.ts';
import { attest } from '../engine/provenance/attested-file.ts';
import { buildPe } from '../fixtures/pe.ts';
import { SshWorld } from '../lib/sshsig/ssh-world.ts';
import { root } from './error-codes.ts';
import { readDocuments } from './markdown.ts';

const world = new SshWorld();
let folder: string;
const at = (name: string): string => join(folder, name);
const TYPE = 'application/vnd.in-toto+json';

/** What a build server of another make attests of its zip, with a key of its own. */
async function attestBuild(): Promise<void> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const subject = [{ name: 'build.zip', digest: { sha256: await sha256OfFile(at('build.zip')) } }];
  const predicateType = 'https://slsa.dev/provenance/v1';
  const statement = { _type: 'https://in-toto.io/Statement/v1', subject, predicateType, predicate: {} };
  const payload = Buffer.from(JSON.stringify(statement));
  const sig = sign(null, preAuthEncoding(TYPE, payload), privateKey).toString('base64');
  const envelope = { payloadType: TYPE, payload: payload.toString('base64'), signatures: [{ sig }] };
  await writeFile(at('build.zip.intoto.jsonl'), `${JSON.stringify(envelope)}\n`);
  await writeFile(at('build-server.pem'), publicKey.export({ format: 'pem', type: 'spki' }));
}

before(async () => {
  world.key('receipts', 'ed25519');
  const setup = await makeSigningSetup();
  folder = setup.folder;
  const signing = { ...setup.signing, isOurs: (path: string) => path.endsWith('.exe') };
  await writeFile(at('tool.exe'), buildPe({}));
  await createZip([{ path: at('tool.exe'), name: 'tool.exe' }], at('build.zip'));
  const signer = await loadSshSigner(world.path('receipts'));
  await writeFile(
    at('signed.zip.intoto.jsonl'),
    await attest(at('build.zip'), at('signed.zip'), { signing, signer }),
  );
  await copyFile(world.path('receipts.pub'), at('receipts.pub'));
  await attestBuild();
  const program = `#!/bin/sh\nexec '${process.execPath}' '${join(root, 'dist/main.js')}' "$@"\n`;
  await writeFile(at('signpipe'), program);
  await chmod(at('signpipe'), 0o755);
});
after(async () => {
  world.close();
  await rm(folder, { recursive: true, force: true });
});

/** Runs a text in a shell that ends at the first command that fails. */
const shell = (text: string) =>
  spawnSync('sh', ['-e', '-c', text], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, PATH: `${folder}:${process.env['PATH'] ?? ''}` },
  });

describe('the commands of docs/provenance.md', () => {
  const texts = async (): Promise<string[]> => {
    const document = (await readDocuments()).find(({ path }) => path === 'docs/provenance.md');
    assert.ok(document);
    return document.blocks.filter(({ info }) => info === 'sh').map(({ lines }) => lines.join('\n'));
  };

  it('accept a signed file, with signpipe and without', async () => {
    for (const text of await texts()) {
      const { status, stdout, stderr } = shell(text);
      assert.equal(status, 0, `${text}\n${stdout}${stderr}`);
    }
  });

  it('refuse a file with another byte at its end', async () => {
    const good = await readFile(at('signed.zip'));
    await writeFile(at('signed.zip'), Buffer.concat([good, Buffer.of(0)]));
    for (const text of await texts()) assert.notEqual(shell(text).status, 0, text);
    await writeFile(at('signed.zip'), good);
  });

  it('refuse a statement that was changed', async () => {
    const good = await readFile(at('signed.zip.intoto.jsonl'), 'utf8');
    const [first = ''] = good.split('\n');
    const envelope = JSON.parse(first) as { payload: string };
    envelope.payload = Buffer.from(`${Buffer.from(envelope.payload, 'base64').toString()} `).toString(
      'base64',
    );
    await writeFile(at('signed.zip.intoto.jsonl'), `${JSON.stringify(envelope)}\n`);
    for (const text of await texts()) assert.notEqual(shell(text).status, 0, text);
    await writeFile(at('signed.zip.intoto.jsonl'), good);
  });

  it('refuse the attestation of another build', async () => {
    await writeFile(at('build.zip'), execFileSync('cat', [at('signed.zip')]));
    await attestBuild();
    const last = (await texts()).at(-1) ?? '';
    assert.notEqual(shell(last).status, 0);
  });
});
