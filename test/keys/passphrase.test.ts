import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findPassphrase } from '../../src/keys/passphrase.ts';
import { PASSPHRASE, refuses } from './refusal.ts';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-passphrase-'));
});
after(() => rm(folder, { recursive: true, force: true }));

async function fileWith(content: string, mode = 0o600): Promise<string> {
  const path = join(folder, 'passphrase');
  await writeFile(path, content);
  await chmod(path, mode);
  return path;
}

describe('findPassphrase', () => {
  it('takes the first line of the file, its spaces kept and its line end dropped', async () => {
    for (const end of ['', '\n', '\r\n', '\nsecond line\n'])
      assert.equal(
        await findPassphrase({ file: await fileWith(` ${PASSPHRASE} ${end}`) }),
        ` ${PASSPHRASE} `,
      );
  });

  it('takes the file before the environment, and the environment before asking', async () => {
    const environment = { SIGNPIPE_PASSPHRASE: 'from the environment' };
    const file = await fileWith(PASSPHRASE);
    assert.equal(await findPassphrase({ file, environment }), PASSPHRASE);
    assert.equal(await findPassphrase({ environment, prompt: 'x' }), 'from the environment');
  });

  it('finds none, and does not wait, where nobody can be asked', async () => {
    const script = `import { findPassphrase } from './src/keys/passphrase.ts';
      console.log(await findPassphrase({ prompt: 'x', environment: {} }));`;
    assert.match(await inTerminal(script, null), /undefined/);
  });

  it('asks on a terminal, and shows nothing of what is typed', async () => {
    const script = `import { findPassphrase } from './src/keys/passphrase.ts';
      const typed = await findPassphrase({ prompt: 'test.pfx', environment: {} });
      process.stdout.write('length ' + typed.length);`;
    const shown = await inTerminal(script, PASSPHRASE);
    assert.match(shown, /Passphrase for test\.pfx: /);
    assert.match(shown, new RegExp(`length ${PASSPHRASE.length}`));
    assert.ok(!shown.includes(PASSPHRASE));
  });

  it('warns of a file that others may read, without showing what is in it', async () => {
    const warnings: string[] = [];
    await findPassphrase({ file: await fileWith(PASSPHRASE, 0o644), warn: (text) => warnings.push(text) });
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? '', /mode 644/);
    assert.ok(!warnings.join().includes(PASSPHRASE));
    await findPassphrase({ file: await fileWith(PASSPHRASE), warn: assert.fail });
  });

  it('passphrase-file: an empty first line, or far too much', async () => {
    for (const content of ['', '\nsecond\n', 'x'.repeat(2000), 'x'.repeat(100_000)]) {
      const file = await fileWith(content);
      await refuses('passphrase-file', () => findPassphrase({ file }));
    }
  });
});

/** Runs a script with a pseudo-terminal as standard input when there is something to type, and returns what it shows. */
async function inTerminal(script: string, type: string | null): Promise<string> {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const node = [process.execPath, '--import', 'tsx', '--input-type=module', '-e', script];
  const python = `import os, pty, sys
pid, terminal = pty.fork()
if pid == 0: os.execv(sys.argv[2], sys.argv[2:])
shown = b''
while True:
  try: part = os.read(terminal, 4096)
  except OSError: break
  if not part: break
  if b': ' in part and b': ' not in shown: os.write(terminal, sys.argv[1].encode() + b'\\n')
  shown += part
sys.stdout.buffer.write(shown)`;
  const words = type === null ? node : ['python3', '-c', python, type, ...node];
  const [command = '', ...rest] = words;
  const child = spawn(command, rest, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], timeout: 20_000 });
  const parts: Buffer[] = [];
  child.stdout.on('data', (part: Buffer) => parts.push(part));
  child.stderr.on('data', (part: Buffer) => parts.push(part));
  await once(child, 'close');
  return Buffer.concat(parts).toString('utf8');
}
