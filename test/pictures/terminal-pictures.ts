/** Terminal sessions with the real commands on the demo's site, one picture each. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StableText } from './stable-text.ts';
import { terminalSvg } from './terminal-svg.ts';

const MAIN = join(import.meta.dirname, '../../dist/main.js');
const COLUMNS = 112;

/** Runs a command as on a terminal with colours; what it prints, whatever its exit status. */
function run(program: string, args: readonly string[]): Promise<string> {
  const env = { ...process.env, FORCE_COLOR: '1', COLUMNS: String(COLUMNS) };
  return new Promise((resolve) => {
    execFile(program, args, { env, maxBuffer: 2 ** 24 }, (_, stdout, stderr) => resolve(stderr + stdout));
  });
}

/** Runs signpipe; in the text, its arguments are as `shown`. */
async function session(args: readonly string[], shown = args): Promise<string> {
  const output = await run(process.execPath, [MAIN, ...args]);
  return `\u001b[32m$\u001b[0m \u001b[1msignpipe ${shown.join(' ')}\u001b[0m\n${output.trimEnd()}\n`;
}

interface Picture {
  readonly name: string;
  readonly title: string;
  readonly text: string;
}

/** Plays the sessions. */
async function* pictures(folder: string): AsyncGenerator<Picture> {
  const at = (name: string): string => join(folder, 'demo', name);
  const [builder, signer] = [at('builder.yaml'), at('signer.yaml')];
  const answer = (): Promise<string> => run(process.execPath, [MAIN, 'watch', '-c', signer, '--once']);
  const idIn = (text: string): string => /^[0-9a-f]{40}$/m.exec(text)?.[0] ?? '';

  const demo = await session(['demo', '--dir', at('')], ['demo']);
  yield {
    name: 'demo',
    title: 'signpipe demo: a release is built, uploaded, signed and checked, in seven steps',
    text: `${demo.slice(0, demo.indexOf('The receipt, as')).trimEnd()}\n`,
  };

  const doctor = await session(['doctor', '-c', signer], ['doctor', '-c', 'signer.yaml']);
  yield { name: 'doctor', title: 'signpipe doctor checks every part of a signer', text: doctor };

  const submitted = await session(
    ['submit', '-c', builder, at('unsigned.zip')],
    ['submit', '-c', 'builder.yaml', 'unsigned.zip'],
  );
  await answer();
  const id = idIn(submitted);
  const waited = await session(
    ['wait', '-c', builder, id, '--output', at('out'), '--allow-test-certificate'],
    ['wait', '-c', 'builder.yaml', id.slice(0, 12), '--output', 'out', '--allow-test-certificate'],
  );
  yield {
    name: 'release',
    title:
      'A release takes two commands: signpipe submit prints the id of the request, signpipe wait checks and downloads the result',
    text: submitted + waited,
  };

  for (const name of ['notes.txt', 'licence.txt']) await writeFile(at(name), 'Nothing that can be signed.\n');
  const asked = await session(
    ['submit', '-c', builder, at('notes.txt'), at('licence.txt')],
    ['submit', '-c', 'builder.yaml', 'notes.txt', 'licence.txt'],
  );
  await answer();
  const refused = idIn(asked);
  const refusal = await session(
    ['wait', '-c', builder, refused, '--output', at('out')],
    ['wait', '-c', 'builder.yaml', refused.slice(0, 12), '--output', 'out'],
  );
  yield {
    name: 'refused',
    title: 'A refused request: signpipe wait says why, and what to do',
    text: asked + refusal,
  };

  const held = await session(
    ['hold', '-c', builder, 'The build server is being replaced'],
    ['hold', '-c', 'builder.yaml', '"The build server is being replaced"'],
  );
  const waiting = await session(
    ['submit', '-c', builder, '--quiet', at('unsigned.zip')],
    ['submit', '-c', 'builder.yaml', '--quiet', 'unsigned.zip'],
  );
  const status = await session(['status', '-c', builder], ['status', '-c', 'builder.yaml']);
  yield {
    name: 'status',
    title: 'signpipe status after signpipe hold: a request waits, and why',
    text: held + waiting + status,
  };

  const audit = await session(
    ['audit', '--repo', at('control.git'), '--allowed-signers', at('keys/audit_signers')],
    ['audit', '--repo', 'control.git', '--allowed-signers', 'audit_signers'],
  );
  yield {
    name: 'audit',
    title: 'signpipe audit: every request and its answer, all signatures verified',
    text: audit,
  };

  if ((await run(process.execPath, [MAIN, '--help'])).includes('\n  explain')) {
    const story = await session(
      ['explain', '-c', builder, id],
      ['explain', '-c', 'builder.yaml', id.slice(0, 12)],
    );
    yield { name: 'explain', title: 'signpipe explain: the story of one request', text: story };
  }
}

/** Draws all sessions into a folder. */
export async function drawTerminals(into: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'signpipe-pictures-'));
  try {
    const stable = new StableText(
      new Map([
        [`${join(folder, 'demo')}/`, ''],
        [join(folder, 'demo'), 'demo'],
      ]),
    );
    for await (const { name, title, text } of pictures(folder)) {
      const svg = terminalSvg(stable.replace(text), { columns: COLUMNS, title });
      await writeFile(join(into, `${name}.svg`), svg);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
