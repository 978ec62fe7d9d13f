import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { findPassphrase } from '../../../src/engine/keys/passphrase.ts';
import { onTerminal } from '../../terminal.ts';
import { PASSPHRASE, refuses } from './refusal.ts';

const run = promisify(execFile);

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-passphrase-'));
});
after(() => rm(folder, { recursive: true, force: true }));

async function fileWith(content: string | Buffer, mode = 0o600): Promise<string> {
  const path = join(folder, 'passphrase');
  await writeFile(path, content);
  await chmod(path, mode);
  return path;
}

describe('findPassphrase', () => {
  it('returns the first line of the file with its spaces and without its line end', async () => {
    for (const end of ['', '\n', '\r\n', '\nsecond line\n'])
      assert.equal(
        await findPassphrase({ file: await fileWith(` ${PASSPHRASE} ${end}`) }),
        ` ${PASSPHRASE} `,
      );
  });

  it('prefers the file to the environment, and returns nothing if there is neither', async () => {
    const environment = { SIGNPIPE_PASSPHRASE: 'from the environment' };
    const file = await fileWith(PASSPHRASE);
    assert.equal(await findPassphrase({ file, environment }), PASSPHRASE);
    assert.equal(await findPassphrase({ environment }), 'from the environment');
    assert.equal(await findPassphrase({ environment: {} }), undefined);
  });

  it('warns about a file that others can read, without showing its content', async () => {
    const warnings: string[] = [];
    await findPassphrase({ file: await fileWith(PASSPHRASE, 0o644), warn: (text) => warnings.push(text) });
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? '', /mode 644/);
    assert.ok(!warnings.join().includes(PASSPHRASE));
    await findPassphrase({ file: await fileWith(PASSPHRASE), warn: assert.fail });
  });

  it('reads what editors and PowerShell write: a byte order mark, UTF-16 in both byte orders', async () => {
    const secret = 'größe 😀';
    const text = `\ufeff${secret}\r\nsecond line\r\n`;
    for (const content of [
      Buffer.from(text, 'utf8'),
      Buffer.from(text, 'utf16le'),
      Buffer.from(text, 'utf16le').swap16(),
      Buffer.from(`\ufeff${secret}`, 'utf16le'),
      Buffer.from(`${secret}\rsecond line\r`, 'utf8'),
    ])
      assert.equal(await findPassphrase({ file: await fileWith(content) }), secret);
  });

  it('passphrase-file: Latin-1, UTF-16 without a byte order mark, an incomplete character', async () => {
    for (const content of [
      Buffer.from('Zürich', 'latin1'),
      Buffer.from(PASSPHRASE, 'utf16le'),
      Buffer.from(PASSPHRASE, 'utf16le').swap16(),
      Buffer.from('\ufeff\ud800', 'utf16le'),
      Buffer.from([0xff, 0xfe, 0x61]),
    ]) {
      const file = await fileWith(content);
      const { message } = await refuses('passphrase-file', () => findPassphrase({ file }));
      assert.match(message, /neither UTF-8 nor UTF-16/);
    }
  });

  it('passphrase-file: an empty first line, or a file that is too large', async () => {
    for (const content of ['', '\nsecond\n', 'x'.repeat(2000), 'x'.repeat(100_000)]) {
      const file = await fileWith(content);
      await refuses('passphrase-file', () => findPassphrase({ file }));
    }
  });
});

describe('askPassphrase', () => {
  const script = `import { askPassphrase } from './src/engine/keys/passphrase.ts';
    const typed = await askPassphrase('test.pfx');
    process.stdout.write('length ' + typed?.length);`;
  const asking = [process.execPath, '--import', 'tsx', '--input-type=module', '-e', script] as const;
  const cwd = resolve(import.meta.dirname, '../../..');

  it('returns nothing, without waiting, if standard input is not a terminal', async () => {
    const [command, ...args] = asking;
    assert.equal((await run(command, args, { cwd })).stdout, 'length undefined');
  });

  it('asks on a terminal, and does not show what is typed', async () => {
    const { text } = await onTerminal(asking, { cwd, type: PASSPHRASE });
    assert.match(text, /Passphrase for test\.pfx: /);
    assert.match(text, new RegExp(`length ${PASSPHRASE.length}`));
    assert.ok(!text.includes(PASSPHRASE));
  });
});
