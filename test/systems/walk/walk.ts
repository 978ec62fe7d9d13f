/**
 * Sets up a site as docs/setup.md and pipeline/host/README.md say, with their own commands, on a machine with three
 * accounts, and signs a first release. It runs as root in namespaces of its own: walk.systems.ts starts it.
 *
 *   node --import tsx test/systems/walk/walk.ts SCRATCH FOLDER-OF-THE-COMMAND
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onlyPrograms, prepareMachine } from './namespace.ts';

const [scratch = '', prefix = ''] = process.argv.slice(2);
const installed = join(prefix, 'lib/node_modules/signpipe');

interface Step {
  readonly what: string;
  readonly lines: readonly string[];
}

/** The shell blocks of a document, in order. */
function shellBlocks(path: string): string[] {
  const text = readFileSync(join(installed, path), 'utf8');
  return [...text.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, block = '']) => block);
}

/** The block that contains a text; the documents decide what is typed. */
function blockWith(path: string, part: string): string {
  const block = shellBlocks(path).find((each) => each.includes(part));
  assert.ok(block, `${path} has no block with ${part}`);
  return block;
}

let path = '';

/** An account of the walk, in its home. */
class Account {
  readonly home: string;
  constructor(readonly name: string) {
    this.home = name === 'root' ? '/home/root' : `/home/${name}`;
    if (name === 'root') mkdirSync(this.home, { recursive: true });
    else execFileSync('useradd', ['--create-home', '--shell', '/bin/sh', name]);
  }

  private command(line: string): [string, string[]] {
    const script = `cd ${this.home} && export HOME=${this.home} PATH=${path} && ${line}`;
    return this.name === 'root'
      ? ['sh', ['-ec', script]]
      : ['runuser', ['-u', this.name, '--', 'sh', '-ec', script]];
  }

  /** Runs a line of shell and returns its standard output; fails if it does. */
  run(line: string): string {
    console.log(`${this.name}$ ${line.trim().split('\n').join('\n    ')}`);
    const [program, args] = this.command(line);
    return execFileSync(program, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 120_000,
    });
  }

  start(line: string): ChildProcess {
    console.log(`${this.name}$ ${line} &`);
    const [program, args] = this.command(`exec ${line}`);
    return spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  }

  /** Runs an `init` and returns the steps that it leaves. */
  init(line: string): Step[] {
    return (JSON.parse(this.run(`${line.trim()} --json`)) as { steps: Step[] }).steps;
  }
}

const stepAbout = (steps: readonly Step[], words: RegExp): Step => {
  const step = steps.find(({ what }) => words.test(what));
  assert.ok(step, `no step about ${words} in ${steps.map(({ what }) => what).join('\n')}`);
  return step;
};

/** What the operator of the host does with the lines that every `init` prints for it. */
function permit(steps: readonly Step[]): void {
  for (const { what, lines } of steps) {
    const [, account] = /authorized_keys of (\w+) on build\.example\.org/.exec(what) ?? [];
    if (account !== undefined) appendFileSync(`/etc/ssh/signpipe/${account}`, `${lines.join('\n')}\n`);
  }
}

/** Adds the host's keys by the printed commands, all but the one that is typed on the host. */
function pin(account: Account, steps: readonly Step[]): void {
  for (const line of stepAbout(steps, /host keys/).lines)
    if (!line.includes('# on the host')) account.run(line);
}

const timings: [string, number][] = [];
async function chapter(name: string, work: () => void | Promise<void>): Promise<void> {
  const begun = performance.now();
  console.log(`\n== ${name}`);
  await work();
  timings.push([name, Math.round(performance.now() - begun)]);
}

function requireNoProblem(account: Account, config: string): void {
  const report = JSON.parse(account.run(`signpipe doctor -c ${config} --json || true`)) as {
    status: string;
    findings: { status: string; code?: string; message: string; hint?: string }[];
  };
  const problems = report.findings.filter(({ status }) => status !== 'ok');
  assert.deepEqual(problems, [], `${config}: ${JSON.stringify(problems, null, 2)}`);
}

async function walk(): Promise<void> {
  prepareMachine(scratch);
  path = onlyPrograms(scratch, [join(prefix, 'bin')]);
  process.env['PATH'] = path;
  const root = new Account('root');
  let operator!: Account, alice!: Account, manager!: Account;
  let signerSteps: Step[] = [];
  let builderSteps: Step[] = [];
  let watching: ChildProcess | undefined;

  await chapter('the host', () => {
    const block = blockWith('pipeline/host/README.md', 'useradd');
    root.run(`cd ${join(installed, 'pipeline/host')}\n${block}`);
    // The example's keys are only placeholders.
    writeFileSync('/etc/ssh/signpipe/git', '');
  });
  await chapter('the signer', () => {
    operator = new Account('olivia');
    const [line = ''] = blockWith('docs/setup.md', 'init signer').split('\n');
    signerSteps = operator.init(`${line} --test-certificate`);
    permit(signerSteps);
    pin(operator, signerSteps);
  });
  await chapter('the first builder', () => {
    alice = new Account('alice');
    builderSteps = alice.init(blockWith('docs/setup.md', 'init builder'));
    permit(builderSteps);
    pin(alice, builderSteps);
    const [request = ''] = stepAbout(builderSteps, /operator of the signer/).lines;
    appendFileSync('/home/olivia/signer/keys/allowed_signers', `${request}\n`);
    const [receipts = ''] = stepAbout(signerSteps, /every builder, for keys\/receipt_signers/).lines;
    appendFileSync('/home/alice/builder/keys/receipt_signers', `${receipts}\n`);
  });
  await chapter('the release manager', () => {
    manager = new Account('manager');
    const [line = ''] = blockWith('docs/auditing.md', 'init auditor').split('\n');
    const steps = manager.init(line);
    permit(steps);
    pin(manager, steps);
    const lines = [
      ...stepAbout(builderSteps, /operator of the signer/).lines,
      ...stepAbout(signerSteps, /every builder/).lines,
    ];
    appendFileSync('/home/manager/audit/keys/allowed_signers', `${lines.join('\n')}\n`);
  });
  await chapter('doctor, for everyone', () => {
    requireNoProblem(operator, 'signer/signer.yaml');
    requireNoProblem(alice, 'builder/builder.yaml');
    requireNoProblem(manager, 'audit/auditor.yaml');
    const host = blockWith('pipeline/host/README.md', 'doctor --host');
    console.log(root.run(host));
  });
  await chapter('the first request', async () => {
    writeFileSync('/home/alice/build.zip', readFileSync(join(scratch, 'build.zip')));
    watching = operator.start('signpipe watch -c signer/signer.yaml --quiet');
    const line = blockWith('docs/setup.md', 'submit -c builder/builder.yaml').trim();
    console.log(alice.run(`${line} --allow-test-certificate`));
    await sleep(100);
  });
  await chapter('looking at it', () => {
    console.log(operator.run('signpipe status -c signer/signer.yaml'));
    console.log(alice.run('signpipe status -c builder/builder.yaml'));
    console.log(manager.run('signpipe status -c audit/auditor.yaml'));
    const audit = manager.run('signpipe audit -c audit/auditor.yaml');
    assert.match(audit, /every signature and every link holds/);
    console.log(audit);
    const proof = alice.run('signpipe verify signed/build.zip --original build.zip || true');
    assert.match(proof, /nothing else/);
  });
  watching?.kill('SIGTERM');
  if (watching) await new Promise((done) => watching?.once('exit', done));
  execFileSync('sh', ['-c', 'kill "$(cat /run/sshd.pid)"']);
}

await walk();
writeFileSync(resolve(scratch, 'timings.json'), JSON.stringify(timings));
