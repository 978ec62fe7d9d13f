/** What a person or a script sees of refusals: exit status, message and hint of the built command line. */
import assert from 'node:assert/strict';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { makeKey } from '../../world/sshd.ts';
import { signpipe, type Ended } from '../../world/site.ts';
import { TestSigner, program, soundZip, startSigner } from './test-signer.ts';

/** Asserts that output has nothing that a person should not see: stack traces, `[object Object]`, raw control characters. */
function assertFit({ stdout, stderr }: Ended): void {
  for (const text of [stdout, stderr]) {
    assert.doesNotMatch(text, /^\s+at .*:\d+:\d+|\[object |undefined|unexpected error/m);
    // eslint-disable-next-line no-control-regex -- that there is none is what is tested
    assert.doesNotMatch(text, /[\u0000-\u0008\u000b-\u001f\u007f]/);
  }
}

describe('signpipe watch --once, when no receipt can be given', () => {
  let signer: TestSigner;
  before(async () => {
    signer = await TestSigner.open({ gitOverSsh: true });
    await signer.signsNext();
    await signer.context.close();
  });
  after(() => signer.world.stop());

  interface Trouble {
    readonly status: number;
    readonly code: string;
    readonly says: RegExp;
    readonly hint: RegExp;
    /** Causes the fault; returns the function that ends it. */
    readonly make: () => Promise<() => Promise<unknown>>;
  }

  const unanswered: string[] = [];

  /** Requests made during faults, unanswered; the last test checks that all are answered afterwards. */
  async function watchFails(name: string, { status, code, says, hint, make }: Trouble): Promise<void> {
    const request = await signer.send(`${name}.zip`, soundZip(name.length));
    const mend = await make();
    const ended = await signer.world.watchOnce();
    await mend();
    assertFit(ended);
    const output = ended.stdout + ended.stderr;
    assert.equal(ended.status, status, output);
    assert.match(output, new RegExp(`"code":"${code}"|\\[${code}\\]`));
    assert.match(output, says);
    assert.match(output, hint);
    assert.deepEqual(await signer.receiptsFor(request), []);
    unanswered.push(request);
  }

  /** Changes a file; returns the function that restores it. */
  async function changed(path: string, change: (text: string) => string): Promise<() => Promise<void>> {
    const right = await readFile(path, 'utf8');
    await writeFile(path, change(right));
    return () => writeFile(path, right);
  }

  const knownHosts = (): string => signer.world.at('keys', 'known_hosts');

  it('1, host-unreachable: no server listens on the Git host', () =>
    watchFails('unreachable', {
      status: 1,
      code: 'host-unreachable',
      says: /cannot be reached.*ECONNREFUSED/,
      hint: /check the network/,
      make: async () => {
        const known = await changed(knownHosts(), (text) => text + text.replaceAll(/\]:\d+ /g, ']:1 '));
        const config = await changed(signer.world.site.signerConfig, (text) =>
          text.replace(/^( {2}url: ssh:.*127\.0\.0\.1:)\d+/m, '$11'),
        );
        return () => Promise.all([known(), config()]);
      },
    }));

  it('3, host-key-changed: a host shows another key than known_hosts has', () =>
    watchFails('changed', {
      status: 3,
      code: 'host-key-changed',
      says: /SHA256:/,
      hint: /operator|administrator/,
      make: async () => {
        const [type = '', blob = ''] = (await makeKey(signer.world.at('other_host_key'))).split(' ');
        return changed(knownHosts(), (text) => `${text.split(' ')[0] ?? ''} ${type} ${blob}\n`);
      },
    }));

  it('2, host-key-unknown: a host that known_hosts does not have', () =>
    watchFails('unknown', {
      status: 2,
      code: 'host-key-unknown',
      says: /SHA256:/,
      hint: /known_hosts/,
      make: () => changed(knownHosts(), (text) => text.replaceAll(/^\S+/gm, 'elsewhere.example.org')),
    }));

  it('2, key-refused: the host does not let our key in', () =>
    watchFails('refused', {
      status: 2,
      code: 'key-refused',
      says: /refused the SSH key/,
      hint: /authorized_keys/,
      make: () => changed(`${signer.world.sshd.folder}/authorized_keys`, () => ''),
    }));

  it('1, journal-damaged: the journal is not as it was written', () =>
    watchFails('damaged', {
      status: 1,
      code: 'journal-damaged',
      says: /journal\.json: cannot be understood/,
      hint: /move the file away/,
      make: async () => {
        const journal = signer.world.at('signer-state', 'journal.json');
        await writeFile(journal, '{"version":1,');
        return () => rename(journal, `${journal}.bad`);
      },
    }));

  it('1, git-refused: the Git host accepts no receipt', () =>
    watchFails('hooked', {
      status: 1,
      code: 'git-refused',
      says: /receipts are closed/,
      hint: /may this key write to this branch/,
      make: async () => {
        const hook = `${signer.world.control}/hooks/pre-receive`;
        await writeFile(hook, '#!/bin/sh\necho "receipts are closed" >&2; exit 1\n', { mode: 0o755 });
        return () => rm(hook);
      },
    }));

  it('3, history-rewound: requests are gone from the branch', () =>
    watchFails('rewound', {
      status: 3,
      code: 'history-rewound',
      says: /ALARM: main was set back/,
      hint: /--accept-history/,
      make: async () => {
        const tip = await signer.world.git('rev-parse', 'main');
        await signer.world.git('update-ref', 'refs/heads/main', 'main~3');
        return () => signer.world.git('update-ref', 'refs/heads/main', tip);
      },
    }));

  it('0, and answers them all, once the faults are over', async () => {
    const ended = await signer.world.watchOnce();
    assert.equal(ended.status, 0, ended.stdout + ended.stderr);
    assert.equal(unanswered.length, 7);
    for (const request of unanswered)
      assert.equal((await signer.receiptFor(request)).receipt.outcome, 'signed');
    await signer.assertIdle();
  });

  it('1, while a request waits for its time lock', async () => {
    await changed(signer.world.site.signerConfig, (text) => text.replace(/^trust:$/m, 'trust:\n  delay: 1h'));
    await signer.send('delayed.zip', soundZip(7));
    const ended = await signer.world.watchOnce();
    assert.equal(ended.status, 1, ended.stdout);
    assert.match(ended.stdout, /time lock until .*answered 0, waiting 1/s);
  });
});

const signer = await startSigner();

describe('signpipe wait', () => {
  interface Failure {
    error: { code: string; kind: string; message: string; hint: string | null; retry: boolean };
  }

  it('3: for a request that was rejected, with the reason; with --json so that scripts can read it', async () => {
    const request = await signer.send('text.zip', Buffer.from('no zip'));
    await signer.poll();
    const ended = await signer.world.wait(request, '--json');
    assertFit(ended);
    assert.equal(ended.status, 3);
    const { error } = JSON.parse(ended.stdout) as Failure;
    assert.deepEqual([error.code, error.kind, error.retry], ['not-signable', 'not-allowed', false]);
    assert.match(
      error.message,
      /^request [0-9a-f]{12} was rejected: text\.zip: neither a zip nor a file that can be signed$/,
    );
    assert.match(ended.stderr, /^signpipe: request .* was rejected: .* \[not-signable\]\n {2}give a \.zip/);
  });

  it('1: for one that failed, saying that trying again may help', async () => {
    const undo = signer.breakFetch('unlucky.zip', () => {
      throw new RangeError('out of luck');
    });
    const request = await signer.send('unlucky.zip', soundZip(1));
    await signer.poll();
    undo();
    const ended = await signer.world.wait(request, '--json');
    assertFit(ended);
    assert.equal(ended.status, 1);
    const { error } = JSON.parse(ended.stdout) as Failure;
    assert.deepEqual([error.code, error.retry], ['internal-error', true]);
    assert.match(error.message, /was failed: |failed: /);
  });

  it('4: if no signer answers in time', async () => {
    const request = await signer.send('silence.zip', soundZip(2));
    const ended = await signer.world.wait(request, '--json', '--timeout', '1s');
    assertFit(ended);
    assert.equal(ended.status, 4);
    const { error } = JSON.parse(ended.stdout) as Failure;
    assert.equal(error.code, 'wait-timeout');
    assert.match(error.message, /^request [0-9a-f]{12} was not answered in time$/);
    assert.match(error.hint ?? '', /is the signer running/);
  });

  it('2: for a request that does not exist', async () => {
    const ended = await signer.world.wait('ab'.repeat(20));
    assertFit(ended);
    assert.equal(ended.status, 2);
    assert.match(
      ended.stderr,
      /no single commit .* has the id (ab){20} \[request-unknown\]\n {2}was it pushed/,
    );
  });

  it('4: if the Git host cannot be reached all that time, and says so', async () => {
    const request = await signer.world.git('rev-parse', 'main');
    const config = signer.world.at('unreachable.yaml');
    const text = await readFile(signer.world.site.builderConfig, 'utf8');
    await writeFile(
      config,
      text.replace(/127\.0\.0\.1:\d+/, '127.0.0.1:1').replace(/^state:.*$/m, 'state: unreachable-state'),
    );
    const known = await readFile(signer.world.at('keys', 'known_hosts'), 'utf8');
    await writeFile(
      signer.world.at('keys', 'known_hosts'),
      `${known}${known.replaceAll(/\]:\d+ /g, ']:1 ')}`,
    );
    const ended = await signpipe(['wait', request, '-c', config, '--timeout', '1s']);
    assertFit(ended);
    assert.equal(ended.status, 4, ended.stderr);
    assert.match(
      ended.stderr,
      /cannot be reached.*trying again\n(.*\n)*signpipe: request [0-9a-f]{12} was not answered in time: .*cannot be reached/,
    );
  });
});

describe('signpipe with wrong input', () => {
  async function usage(args: readonly string[], says: RegExp): Promise<Ended> {
    const ended = await signpipe(args);
    assertFit(ended);
    assert.equal(ended.status, 2, ended.stderr);
    assert.match(ended.stderr, says);
    assert.equal(ended.stdout, '');
    return ended;
  }

  it('2: an unknown flag, an unknown command, an invalid time', async () => {
    await usage(['watch', '-c', 'x', '--onec'], /unknown option '--onec'/);
    await usage(['wacth'], /unknown command 'wacth'/);
    await usage(['wait', 'x', '-c', 'y', '--timeout', 'soon'], /write 30s, 10m or 2h/);
  });

  it('2, config-not-found: a configuration that does not exist', () =>
    usage(
      ['watch', '-c', signer.world.at('nowhere.yaml')],
      /nowhere\.yaml: no such configuration file \[config-not-found\]\n {2}.*signpipe init/,
    ).then(() => {}));

  for (const [code, what, text, says] of [
    ['config-not-yaml', 'no YAML', 'control: {\nexchange: [', /bad\.yaml:\d+:\d+: /],
    [
      'config-invalid',
      'an unknown key',
      'control:\n  url: ssh://h/c\n  pol: x\n',
      /bad\.yaml:3:3: unknown key "control\.pol"\n.*bad\.yaml:1:1: exchange: is missing\n/,
    ],
  ] as const)
    it(`2, ${code}: ${what}, with line and column`, async () => {
      await writeFile(signer.world.at('bad.yaml'), text);
      const { stderr } = await usage(['watch', '-c', signer.world.at('bad.yaml'), '--once'], says);
      assert.match(stderr, new RegExp(`\\[${code}\\]`));
    });

  it('2, pfx-wrong-passphrase: a wrong passphrase, which is not shown anywhere', async () => {
    const secret = 'correct horse battery staple';
    await writeFile(signer.world.at('keys', 'wrong-passphrase'), `${secret}\n`, { mode: 0o600 });
    await writeFile(signer.world.at('app.exe'), program(1));
    const files = [
      '--pfx',
      signer.world.at('keys', 'codesign.pfx'),
      '--passphrase-file',
      signer.world.at('keys', 'wrong-passphrase'),
    ];
    const ended = await usage(
      ['sign', '-v', signer.world.at('app.exe'), '--in-place', ...files],
      /codesign\.pfx.*\[pfx-wrong-passphrase\]/,
    );
    await writeFile(
      signer.world.at('wrong.yaml'),
      (await readFile(signer.world.site.signerConfig, 'utf8')).replace(
        'keys/passphrase',
        'keys/wrong-passphrase',
      ),
    );
    const watched = await usage(
      ['watch', '-v', '-c', signer.world.at('wrong.yaml'), '--once'],
      /codesign\.pfx.*\[pfx-wrong-passphrase\]/,
    );
    for (const { stdout, stderr } of [ended, watched]) assert.ok(!`${stdout}${stderr}`.includes(secret));
    assert.deepEqual(await readFile(signer.world.at('app.exe')), program(1));
  });

  it('2, state-in-use: a second signer on the same state', () =>
    usage(
      ['watch', '-c', signer.world.site.signerConfig, '--once'],
      new RegExp(`another signer \\(process ${process.pid}\\) is using this state folder \\[state-in-use\\]`),
    ).then(() => {}));
});
