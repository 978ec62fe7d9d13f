/** Keys for checksum files that cannot sign: the signing key is not used again and again for their sake. */
import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { setEnvironment } from '../../../environment.ts';
import type { World } from '../../../world/site.ts';
import { soundZip, TestSigner } from '../test-signer.ts';

const run = promisify(execFile);

const KEY = 'keys/checksums_ed25519';

/** An ssh-agent that the test can end and start again at the same place. */
class Agent {
  private child: ChildProcess | undefined;

  private constructor(readonly socket: string) {}

  static async start(socket: string): Promise<Agent> {
    const agent = new Agent(socket);
    await agent.begin();
    return agent;
  }

  async begin(): Promise<void> {
    this.child = spawn('ssh-agent', ['-D', '-a', this.socket], {
      stdio: 'ignore',
      // A confirmation that nobody gives.
      env: { ...process.env, SSH_ASKPASS: '/bin/false', SSH_ASKPASS_REQUIRE: 'force' },
    });
    while (!existsSync(this.socket)) await sleep(5);
  }

  async add(key: string, ...options: string[]): Promise<void> {
    await run('ssh-add', ['-q', ...options, key], { env: { ...process.env, SSH_AUTH_SOCK: this.socket } });
  }

  async end(): Promise<void> {
    this.child?.kill();
    await rm(this.socket, { force: true });
  }
}

/** Polls, and returns the code of the error that the poll ended with; null if it ended well. */
const polled = (signer: TestSigner): Promise<string | null> =>
  signer.poll().then(
    () => null,
    (error: { code: string }) => error.code,
  );

/** How many timestamps were asked for: one for each signature of the signing key. */
const stamped = ({ world }: TestSigner): number => world.authority.requests.length;

for (const { what, lines, key } of [
  { what: 'the key for checksum files', lines: `checksums:\n  ssh: { key: ${KEY}.pub }\n`, key: KEY },
  {
    what: 'the receipt key, which signs provenance',
    lines: 'provenance: true\n',
    key: 'keys/receipts_ed25519',
  },
])
  describe(`${what} in an ssh-agent`, () => {
    let signer: TestSigner;
    let agent: Agent;
    let away = '';
    let resetEnvironment: () => void;

    const prepare = async (world: World): Promise<void> => {
      agent = await Agent.start(world.at('agent'));
      resetEnvironment = setEnvironment({ SSH_AUTH_SOCK: agent.socket });
      if (key === KEY) await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', world.at(KEY)]);
      away = world.at('away');
      await rename(world.at(key), away);
      await agent.add(away);
    };
    before(async () => {
      signer = await TestSigner.open({
        ssh: false,
        lines,
        prepare,
        change: (text) =>
          key === KEY ? text : text.replace(/^( {2}key: keys\/receipts_ed25519)$/m, '$1.pub'),
      });
    });
    after(async () => {
      resetEnvironment();
      await agent.end();
      await signer.close();
    });

    it('is asked for before the signing key is used: requests wait while the agent is gone', async () => {
      await signer.signsNext();
      await agent.end();
      const request = await signer.send('gone.zip', soundZip(1));
      const stampedBefore = stamped(signer);
      for (const _ of [1, 2, 3]) assert.equal(await polled(signer), 'ssh-agent-unreachable');
      await agent.begin();
      assert.equal(await polled(signer), 'ssh-key-not-in-agent');
      assert.equal(stamped(signer), stampedBefore);
      assert.deepEqual(await signer.receiptsFor(request), []);
      await agent.add(away);
      await signer.signs(request);
      assert.equal(stamped(signer), stampedBefore + 1);
    });
  });

describe('a key for checksum files that refuses', () => {
  let signer: TestSigner;
  let agent: Agent;
  let resetEnvironment: () => void;
  before(async () => {
    signer = await TestSigner.open({
      ssh: false,
      lines: `checksums:\n  ssh: { key: ${KEY}.pub }\n`,
      prepare: async (world) => {
        agent = await Agent.start(world.at('agent'));
        resetEnvironment = setEnvironment({ SSH_AUTH_SOCK: agent.socket });
        await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', world.at(KEY)]);
        await rename(world.at(KEY), world.at('away'));
        await agent.add(world.at('away'), '-c');
      },
    });
  });
  after(async () => {
    resetEnvironment();
    await agent.end();
    await signer.close();
  });

  it('ssh-agent-refused: fails the request, whose signatures are made once', async () => {
    const request = await signer.send('refused.zip', soundZip(2));
    const stampedBefore = stamped(signer);
    for (const _ of [1, 2, 3]) await polled(signer);
    await signer.assertRefusal(request, {
      outcome: 'failed',
      code: 'ssh-agent-refused',
      says: /refused to sign/,
      hint: /locked/,
    });
    assert.equal(stamped(signer), stampedBefore + 1);
    await signer.assertIdle();
  });
});

describe('a command for checksum files that must not run again', () => {
  let signer: TestSigner;
  before(async () => {
    signer = await TestSigner.open({
      ssh: false,
      lines: "checksums:\n  openpgp: { command: ['keys/refuses'], publicKey: keys/release.asc }\n",
      prepare: async (world) => {
        const path = world.at('keys', 'refuses');
        await writeFile(path, `#!/bin/sh\necho run >> ${world.at('runs')}\nexit 77\n`);
        await chmod(path, 0o700);
        const { generateKey } = await import('openpgp');
        const { publicKey } = await generateKey({ userIDs: [{ name: 'release' }] });
        await writeFile(world.at('keys', 'release.asc'), publicKey);
      },
    });
  });
  after(() => signer.close());

  it('key-command-refused: runs once, as after a wrong PIN; later requests wait for a restart', async () => {
    const first = await signer.send('pin.zip', soundZip(3));
    await polled(signer);
    await signer.assertRefusal(first, {
      outcome: 'failed',
      code: 'key-command-refused',
      says: /is not run again/,
      hint: /./,
    });
    const stampedBefore = stamped(signer);
    const second = await signer.send('pin-2.zip', soundZip(4));
    for (const _ of [1, 2]) assert.equal(await polled(signer), 'key-command-refused');
    assert.deepEqual(await signer.receiptsFor(second), []);
    assert.equal(stamped(signer), stampedBefore);
    assert.equal(await readFile(join(signer.world.at(), 'runs'), 'utf8'), 'run\n');
  });
});
