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

const idIn = (text: string): string => /^[0-9a-f]{40}$/m.exec(text)?.[0] ?? '';

/** The sessions, on the demo's site in a folder. Each begins where the one before ended. */
class Sessions {
  private readonly builder: string;
  private readonly signer: string;

  constructor(private readonly folder: string) {
    this.builder = this.at('builder.yaml');
    this.signer = this.at('signer.yaml');
  }

  private at(name: string): string {
    return join(this.folder, 'demo', name);
  }

  private answer(): Promise<string> {
    return run(process.execPath, [MAIN, 'watch', '-c', this.signer, '--once']);
  }

  async demo(): Promise<Picture> {
    const text = await session(['demo', '--dir', this.at('')], ['demo']);
    const title = 'signpipe demo: a release is built, uploaded, signed and checked, in seven steps';
    return { name: 'demo', title, text: `${text.slice(0, text.indexOf('The receipt, as')).trimEnd()}\n` };
  }

  async doctor(): Promise<Picture> {
    const text = await session(['doctor', '-c', this.signer], ['doctor', '-c', 'signer.yaml']);
    return { name: 'doctor', title: 'signpipe doctor checks every part of a signer', text };
  }

  async release(): Promise<Picture> {
    const submitted = await this.submit(['unsigned.zip']);
    const waited = await this.wait(idIn(submitted), '--allow-test-certificate');
    const title =
      'A release takes two commands: signpipe submit prints the id of the request, signpipe wait checks and downloads the result';
    return { name: 'release', title, text: submitted + waited };
  }

  async refused(): Promise<Picture> {
    const names = ['notes.txt', 'licence.txt'];
    for (const name of names) await writeFile(this.at(name), 'Nothing that can be signed.\n');
    const submitted = await this.submit(names);
    const text = submitted + (await this.wait(idIn(submitted)));
    return { name: 'refused', title: 'A refused request: signpipe wait says why, and what to do', text };
  }

  async status(): Promise<Picture> {
    const reason = 'The build server is being replaced';
    const held = await session(
      ['hold', '-c', this.builder, reason],
      ['hold', '-c', 'builder.yaml', `"${reason}"`],
    );
    const waiting = await this.submit(['unsigned.zip'], '--quiet');
    const status = await session(['status', '-c', this.builder], ['status', '-c', 'builder.yaml']);
    const title = 'signpipe status after signpipe hold: a request waits, and why';
    return { name: 'status', title, text: held + waiting + status };
  }

  async audit(): Promise<Picture> {
    const text = await session(
      ['audit', '--repo', this.at('control.git'), '--allowed-signers', this.at('keys/audit_signers')],
      ['audit', '--repo', 'control.git', '--allowed-signers', 'audit_signers'],
    );
    const title = 'signpipe audit: every request and its answer, all signatures verified';
    return { name: 'audit', title, text };
  }

  private async submit(names: readonly string[], ...more: string[]): Promise<string> {
    const files = names.map((name) => this.at(name));
    const text = await session(
      ['submit', '-c', this.builder, ...more, ...files],
      ['submit', '-c', 'builder.yaml', ...more, ...names],
    );
    await this.answer();
    return text;
  }

  private wait(request: string, ...more: string[]): Promise<string> {
    return session(
      ['wait', '-c', this.builder, request, '--output', this.at('out'), ...more],
      ['wait', '-c', 'builder.yaml', request.slice(0, 12), '--output', 'out', ...more],
    );
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
    const sessions = new Sessions(folder);
    for (const play of ['demo', 'doctor', 'release', 'refused', 'status', 'audit'] as const) {
      const { name, title, text } = await sessions[play]();
      const svg = terminalSvg(stable.replace(text), { columns: COLUMNS, title });
      await writeFile(join(into, `${name}.svg`), svg);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
