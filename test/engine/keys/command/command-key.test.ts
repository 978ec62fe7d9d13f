import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect, promisify } from 'node:util';
import { describeKey, openSigningKey, type KeySettings } from '../../../../src/engine/keys/open.ts';
import { requireSuccess } from '../../../../src/engine/keys/command/command-answer.ts';
import { KeyUnavailable, type SigningKey } from '../../../../src/engine/keys/signing-key.ts';
import { SignpipeError, type ErrorKind } from '../../../../src/lib/errors.ts';
import {
  createTestCertificate,
  createTestPki,
  keyToPem,
  toPem,
  type TestIdentity,
  type TestPki,
} from '../../../../src/sandbox/certificates.ts';
import { PIN, SoftHsm } from '../../../world/softhsm.ts';
import { signsForOthers } from '../judged.ts';

const WRAPPERS = join(import.meta.dirname, '../../../../keys.example');
const OPENSSL = join(WRAPPERS, 'sign-openssl');
const PKCS11_TOOL = join(WRAPPERS, 'sign-pkcs11-tool');

let folder: string;
const at = (name: string): string => join(folder, name);
const pkis = new Map<string, TestPki>();
const rootOf = (kind: string): TestIdentity => {
  const root = pkis.get(kind)?.root;
  assert.ok(root);
  return root;
};

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-command-'));
  for (const key of ['rsa2048', 'p256', 'p384'] as const) {
    const pki = await createTestPki({ key, intermediate: true });
    pkis.set(key, pki);
    await writeFile(at(`${key}.key`), keyToPem(pki.codeSigning.key));
    // In no order: the leaf is found by what it is.
    await writeFile(at(`${key}.pem`), toPem(pki.codeSigning.chain.toReversed()));
  }
});
after(() => rm(folder, { recursive: true, force: true }));

interface Opened {
  readonly key: SigningKey;
  readonly warnings: readonly string[];
}

async function opened(settings: KeySettings): Promise<Opened> {
  const warnings: string[] = [];
  const key = await openSigningKey(describeKey(settings), { warn: (text) => warnings.push(text) });
  return { key, warnings };
}

/** Writes a program of the shell, which counts how often it is started in the file `NAME.runs`. */
async function script(name: string, ...lines: readonly string[]): Promise<string> {
  await writeFile(at(name), ['#!/bin/bash', `echo run >> ${at(name)}.runs`, ...lines, ''].join('\n'));
  await chmod(at(name), 0o755);
  return at(name);
}

const runs = (name: string): number => readFileSync(`${at(name)}.runs`, 'utf8').split('\n').length - 1;

const withScript = async (
  name: string,
  lines: readonly string[],
  settings: KeySettings = {},
): Promise<SigningKey> => {
  const program = await script(name, ...lines);
  return (await opened({ key: `exec:${program}`, certificate: at('p256.pem'), ...settings })).key;
};

/** A line of the shell that signs as it should. */
const SIGNS = (): string => `${OPENSSL} ${at('p256.key')}`;

async function refusal(work: () => Promise<unknown>, code: string, kind: ErrorKind): Promise<SignpipeError> {
  try {
    await work();
  } catch (error) {
    assert.ok(error instanceof SignpipeError, inspect(error));
    assert.deepEqual([error.code, error.kind], [code, kind], inspect(error));
    return error;
  }
  assert.fail(`not refused; expected ${code}`);
}

const data = Buffer.from('data');

describe('the wrappers in keys.example', () => {
  for (const [kind, digest] of [
    ['rsa2048', 'sha256'],
    ['rsa2048', 'sha384'],
    ['rsa2048', 'sha512'],
    ['p256', 'sha256'],
    ['p384', 'sha512'],
  ] as const)
    it(`sign-openssl signs programs with ${kind} and ${digest}`, async () => {
      const { key } = await opened({
        command: [OPENSSL, at(`${kind}.key`)],
        certificate: at(`${kind}.pem`),
        concurrency: 2,
      });
      await signsForOthers(key, rootOf(kind), digest);
      await key.close();
    });

  for (const [kind, type] of [
    ['rsa2048', 'rsa:2048'],
    ['p256', 'EC:secp256r1'],
  ] as const)
    it(`sign-pkcs11-tool signs programs with ${kind} in a token, and is not run again after a wrong PIN`, async (test) => {
      const hsm = await SoftHsm.create();
      test.after(() => hsm.remove());
      const onToken = { label: 'codesign', id: '01', type };
      await hsm.makeKey(onToken);
      const issuer = rootOf(kind);
      const leaf = await hsm.certify(onToken, { issuer, write: false });
      await writeFile(at(`token-${kind}.pem`), toPem([leaf]));
      await writeFile(at('pin'), PIN);
      const settings: KeySettings = {
        command: [PKCS11_TOOL, hsm.module, 'release', '01', at('pin')],
        commandEnvironment: ['SOFTHSM2_CONF'],
        certificate: at(`token-${kind}.pem`),
      };
      const { key } = await opened(settings);
      await signsForOthers(key, issuer);
      await writeFile(at('pin'), '000000');
      const wrong = await opened(settings);
      const error = await refusal(() => wrong.key.sign('sha256', data), 'key-command-refused', 'local');
      assert.match(inspect(error.cause), /CKR_PIN_INCORRECT/);
      assert.doesNotMatch(inspect(error, { depth: 9 }), /000000/);
      await writeFile(at('pin'), PIN);
      await refusal(() => wrong.key.sign('sha256', data), 'key-command-refused', 'local');
    });
});

describe('a command', () => {
  it('that is named by exec: signs as one that is listed', async () => {
    const key = await withScript('plain', [SIGNS()]);
    await signsForOthers(key, rootOf('p256'));
  });

  it('gets one line with the digest, the two variables, and of the environment only what needs no secrecy', async () => {
    process.env['SIGNPIPE_PASSPHRASE'] = 'marked secret 4711';
    process.env['SIGNPIPE_TEST'] = 'x';
    process.env['AWS_SECRET_ACCESS_KEY'] = 'marked secret 0815';
    process.env['CLOUD_PROFILE'] = 'release';
    const key = await withScript(
      'spy',
      [
        `env > ${at('spy.env')}`,
        `tee ${at('spy.in')} | ${SIGNS()}`,
        `tr '\\0' ' ' < /proc/$$/cmdline > ${at('spy.args')}`,
      ],
      { commandEnvironment: ['CLOUD_PROFILE'] },
    );
    await key.sign('sha384', data);
    const seen = await readFile(at('spy.env'), 'utf8');
    assert.match(seen, /^SIGNPIPE_DIGEST_ALGORITHM=sha384$/m);
    assert.match(seen, /^SIGNPIPE_KEY_TYPE=ecdsa$/m);
    assert.match(seen, /^CLOUD_PROFILE=release$/m);
    assert.doesNotMatch(seen + (await readFile(at('spy.args'), 'utf8')), /marked secret|SIGNPIPE_TEST/);
    assert.match(await readFile(at('spy.in'), 'utf8'), /^[0-9a-f]{96}\n$/);
    for (const name of ['SIGNPIPE_PASSPHRASE', 'SIGNPIPE_TEST', 'AWS_SECRET_ACCESS_KEY', 'CLOUD_PROFILE'])
      delete process.env[name];
  });

  it('gets its arguments as they are: no shell reads them', async () => {
    const program = await script('arguments', `printf '%s|' "$@" > ${at('arguments.seen')}`, SIGNS());
    const { key } = await opened({
      command: [program, '$(touch x); *', '', 'ü "\''],
      certificate: at('p256.pem'),
    });
    await key.sign('sha256', data);
    assert.equal(await readFile(at('arguments.seen'), 'utf8'), '$(touch x); *||ü "\'|');
  });

  it('that fails twice with status 75 and then works is run three times', async () => {
    const key = await withScript('busy', [`[ $(wc -l < ${at('busy.runs')}) -ge 3 ] || exit 75`, SIGNS()]);
    await key.sign('sha256', data);
    assert.equal(runs('busy'), 3);
  });

  it('that closes its input early and still signs is right', async () => {
    const key = await withScript('early', ['read -r digest', 'exec <&-', `echo $digest | ${SIGNS()}`]);
    await key.sign('sha256', data);
  });

  it('that leaves a process behind, which holds its output open, has signed', async () => {
    const key = await withScript('background', [`sleep 300 & echo $! > ${at('background.pid')}`, SIGNS()]);
    const begun = performance.now();
    await key.sign('sha256', data);
    assert.ok(performance.now() - begun < 5000);
    assert.ok(await isGone(at('background.pid')), 'the process that was left behind is ended');
  });

  it('is run as often at a time as signing.concurrency says, by default once', async () => {
    const lines = [`mkdir ${at('lock')} || exit 1`, 'sleep 0.05', `rmdir ${at('lock')}`, SIGNS()];
    const key = await withScript('single', lines);
    await Promise.all([1, 2, 3].map(() => key.sign('sha256', data)));
    const many = await withScript('many', lines, { concurrency: 3 });
    assert.equal(many.concurrency, 3);
    await assert.rejects(Promise.all([1, 2, 3].map(() => many.sign('sha256', data))), {
      code: 'key-command-failed',
    });
  });
});

/** Whether the process whose id a file has ends within a second; some containers keep its zombie. */
async function isGone(file: string): Promise<boolean> {
  const pid = (await readFile(file, 'utf8')).trim();
  for (let tries = 0; tries < 50; tries += 1) {
    const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') Z');
    if (state.includes(') Z')) return true;
    await delay(20);
  }
  return false;
}

describe('a command that fails', () => {
  const failures: [string, string, ErrorKind, readonly string[], RegExp][] = [
    [
      'key-command-failed',
      'exits with another status',
      'local',
      ['echo went wrong >&2', 'exit 3'],
      /status 3/,
    ],
    ['key-command-failed', 'is ended by a signal', 'local', ['kill -SEGV $$'], /SIGSEGV/],
    ['key-command-answer', 'answers nothing', 'local', [':'], /no signature/],
    ['key-command-answer', 'answers garbage', 'local', ['echo "not base64!"'], /not base64/],
    ['key-command-answer', 'answers base64 that is cut', 'local', ['echo QUJ'], /not base64/],
    ['key-command-answer', 'answers r and s side by side', 'local', ['head -c 64 /dev/zero | base64'], /DER/],
    [
      'key-command-answer',
      'answers DER with bytes after it',
      'local',
      [`(${OPENSSL} @KEY | base64 -d; echo x) | base64`],
      /DER/,
    ],
    ['key-command-answer', 'floods its output', 'local', ['yes'], /wrote more/],
    ['key-command-answer', 'floods its standard error', 'local', ['yes >&2'], /wrote more/],
  ];
  for (const [index, [code, what, kind, lines, message]] of failures.entries())
    it(`${code}: ${what}; it is not run again`, async () => {
      const name = `failure-${index}`;
      const key = await withScript(
        name,
        lines.map((line) => line.replace('@KEY', at('p256.key'))),
      );
      const error = await refusal(() => key.sign('sha256', data), code, kind);
      assert.match(error.message, message);
      assert.ok(error.message.includes(at(name)), 'names the program');
      assert.equal(runs(name), 1);
    });

  it('key-command-answer: an RSA signature that is too short', async () => {
    const program = await script('short', 'head -c 255 /dev/zero | base64');
    const { key } = await opened({ key: `exec:${program}`, certificate: at('rsa2048.pem') });
    const { message } = await refusal(() => key.sign('sha256', data), 'key-command-answer', 'local');
    assert.match(message, /255 bytes.*256/);
  });

  it('its standard error is in the cause and not in the message, which receipts show', async () => {
    const key = await withScript('talks', ["printf 'it went \\033[31mwrong' >&2", 'exit 1']);
    const error = await refusal(() => key.sign('sha256', data), 'key-command-failed', 'local');
    assert.doesNotMatch(error.message, /went/);
    assert.match((error.cause as Error).message, /it went \\u\{1b\}\[31mwrong$/);
  });

  it('key-command-timeout: it hangs, and so does what it started; all of it is ended', async () => {
    const key = await withScript('hangs', [`sleep 300 & echo $! > ${at('hangs.pid')}`, 'wait'], {
      keyTimeout: 300,
    });
    const { message } = await refusal(() => key.sign('sha256', data), 'key-command-timeout', 'unavailable');
    assert.match(message, /within 0\.3 s/);
    assert.equal(runs('hangs'), 1);
    assert.ok(await isGone(at('hangs.pid')));
  });

  it('key-closed: it hangs while the key is closed', async () => {
    const key = await withScript('closed', [`echo $$ > ${at('closed.pid')}`, 'sleep 300']);
    const signing = refusal(() => key.sign('sha256', data), 'key-closed', 'local');
    while (!(await readFile(at('closed.pid'), 'utf8').catch(() => ''))) await delay(10);
    await key.close();
    await signing;
    assert.ok(await isGone(at('closed.pid')));
    await refusal(() => key.sign('sha256', data), 'key-closed', 'local');
  });

  it('key-command-busy: it exits with status 75', () => {
    const outcome = {
      status: 75,
      endedBy: null,
      stopped: undefined,
      diagnostics: Buffer.of(),
      answer: Buffer.of(),
    };
    assert.throws(
      () => requireSuccess(outcome, 'program', 1000),
      (error: unknown) => {
        assert.ok(error instanceof KeyUnavailable);
        return error.code === 'key-command-busy';
      },
    );
  });

  it('key-command-refused: after status 77 it is not run again, for any program', async () => {
    const key = await withScript('never', ['exit 77']);
    for (const text of ['a', 'b'])
      await refusal(() => key.sign('sha256', Buffer.from(text)), 'key-command-refused', 'local');
    assert.equal(runs('never'), 1);
  });

  it('key-command-missing: it vanished after the key was opened', async () => {
    const key = await withScript('vanishes', []);
    await rm(at('vanishes'));
    await refusal(() => key.sign('sha256', data), 'key-command-missing', 'local');
  });

  it('is run again if this process had no file descriptor left to start it', async () => {
    const program = await script('descriptors', SIGNS());
    const child = [join(import.meta.dirname, 'few-descriptors.ts'), program, at('p256.pem')];
    const limited = ['-c', 'ulimit -n 100; exec "$@"', 'sh', process.execPath, '--import', 'tsx', ...child];
    const { stdout } = await promisify(execFile)('sh', limited);
    assert.equal(stdout, 'signed\n');
  });

  it('key-signature-wrong: it signs something else', async () => {
    const key = await withScript('other', [`sha256sum <<< other | cut -c1-64 | ${SIGNS()}`]);
    await refusal(() => signsForOthers(key, rootOf('p256')), 'key-signature-wrong', 'local');
  });
});

describe('a command key that cannot be opened', () => {
  const cases: [string, string, () => Promise<KeySettings> | KeySettings, RegExp][] = [
    [
      'key-command-missing',
      'no such program',
      () => ({ key: `exec:${at('none')}` }),
      /there is no such file/,
    ],
    ['key-command-missing', 'below a file', () => ({ key: `exec:${at('p256.key')}/x` }), /no such file/],
    ['key-command-missing', 'not in PATH', () => ({ key: 'exec:signpipe-none' }), /is in no folder of PATH/],
    ['key-command-missing', 'a folder', () => ({ key: `exec:${folder}` }), /is a folder/],
    ['key-command-missing', 'not executable', () => ({ key: `exec:${at('p256.key')}` }), /is not executable/],
    [
      'key-command-missing',
      'arguments',
      () => ({ key: 'exec:/bin/true x' }),
      /"x" would be part of its name/,
    ],
    [
      'key-command-missing',
      'options, which are not shown',
      () => ({ key: 'exec:/bin/true --pin 4711' }),
      /^\/bin\/true …: there is no such file; what follows it would be part of its name$/,
    ],
    ['key-command-missing', 'a home folder', () => ({ key: 'exec:~/sign' }), /no shell replaces the ~/],
    ['key-command-missing', 'a variable', () => ({ key: 'exec:$HOME/sign' }), /no shell replaces the \$/],
    ['key-command-uri', 'no program', () => ({ key: 'exec:' }), /names no program/],
    ['key-command-uri', 'a NUL character', () => ({ key: 'exec:a\0b' }), /names no program/],
    ['key-missing', 'no certificate', () => ({ key: 'exec:true', certificate: undefined }), /certificate/],
    [
      'key-missing',
      'a command without a certificate',
      () => ({ command: ['true'], certificate: undefined }),
      /certificate/,
    ],
    ['key-missing', 'a command and a key', () => ({ command: ['true'], key: 'k.pem' }), /two signing keys/],
    [
      'key-missing',
      'a command and a PKCS#12 file',
      () => ({ command: ['true'], pfx: 'k.pfx', certificate: undefined }),
      /two signing keys/,
    ],
    [
      'pem-no-certificate',
      'no certificate in the file',
      () => ({ key: 'exec:true', certificate: at('p256.key') }),
      /is a private key/,
    ],
  ];
  for (const [code, what, settings, message] of cases)
    it(`${code}: ${what}`, async () => {
      const work = async () => opened({ certificate: at('p256.pem'), ...(await settings()) });
      assert.match((await refusal(work, code, 'usage')).message, message);
    });

  it('key-certificate-unclear: two certificates for code signing, or only authorities', async () => {
    const second = await createTestCertificate({ commonName: 'Other', purpose: 'code-signing', key: 'p256' });
    const { codeSigning, root } = pkis.get('p256') ?? assert.fail();
    for (const certificates of [[codeSigning, second], [root]]) {
      await writeFile(at('unclear.pem'), toPem(certificates.map(({ certificate }) => certificate)));
      await refusal(
        () => opened({ key: 'exec:true', certificate: at('unclear.pem') }),
        'key-certificate-unclear',
        'usage',
      );
    }
  });

  it('key-command-writable: every user may change the program, or replace it', async () => {
    const program = await script('open-to-all', SIGNS());
    await chmod(program, 0o777);
    await refusal(
      () => opened({ key: `exec:${program}`, certificate: at('p256.pem') }),
      'key-command-writable',
      'usage',
    );
    await mkdir(at('public'));
    await chmod(at('public'), 0o777);
    const replaceable = await script('public/program', SIGNS());
    await refusal(
      () => opened({ key: `exec:${replaceable}`, certificate: at('p256.pem') }),
      'key-command-writable',
      'usage',
    );
  });

  it('key-command-writable: every user may replace a link to the program, or a folder above it', async () => {
    const program = await script('behind-a-link', SIGNS());
    await mkdir(at('open/inner'), { recursive: true });
    await chmod(at('open'), 0o777);
    await symlink(program, at('open/link'));
    await script('open/inner/program', SIGNS());
    for (const path of ['open/link', 'open/inner/program']) {
      const { message } = await refusal(
        () => opened({ key: `exec:${at(path)}`, certificate: at('p256.pem') }),
        'key-command-writable',
        'usage',
      );
      assert.ok(message.startsWith(`${at('open')}: `), message);
    }
  });

  it('a program that a group may change is used with a warning', async () => {
    const program = await script('group', SIGNS());
    await chmod(program, 0o775);
    const { warnings } = await opened({ key: `exec:${program}`, certificate: at('p256.pem') });
    assert.match(warnings.join('\n'), /group may change the program that signs/);
  });
});
