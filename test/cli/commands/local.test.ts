import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { createZip } from '../../../src/lib/zip/create-zip.ts';
import { sha256OfFile } from '../../../src/lib/bytes/hash.ts';
import { createTestPki, keyToPem, toPem, type TestPki } from '../../../src/sandbox/certificates.ts';
import { toPfx } from '../../../src/sandbox/pkcs12-writer.ts';
import { startTimestampAuthority, type RunningAuthority } from '../../../src/sandbox/timestamp-authority.ts';
import { buildPe, peLayout } from '../../fixtures/pe.ts';
import { program } from '../../fixtures/programs.ts';
import { onTerminal, type Shown } from '../../terminal.ts';
import { makeReal } from '../../world/real-certificate.ts';
import { assertRefused, signpipe, type Ended } from '../../world/site.ts';

const run = promisify(execFile);
/** Runs the compiled program, as it is installed. */
const main = join(import.meta.dirname, '../../../dist/main.js');
const PASSPHRASE = 'correct horse battery staple';

let folder: string;
let pki: TestPki;
let authority: RunningAuthority;
const at = (...names: string[]): string => join(folder, ...names);
const here = (...args: string[]): Promise<Ended> =>
  signpipe(args, { cwd: folder, env: { SIGNPIPE_PASSPHRASE: PASSPHRASE } });
const signed = (...args: string[]): Promise<Ended> =>
  here('sign', ...args, '--pfx', 'code.pfx', '--timestamp', authority.url);
const verified = (...args: string[]): Promise<Ended> =>
  here('verify', ...args, '--ca', 'ca.pem', '--timestamp-ca', 'tsa.pem');

const PEM = ['--certificate', 'code.pem', '--key', 'code.key'];

/** A signed program beside a zip and a file that is packed with bzip2. */
const PACK_ODDLY = `import zipfile
with zipfile.ZipFile('odd.zip', 'w') as z:
    z.write('tool.signed.exe')
    z.write('inner.zip')
    z.write('notes.txt', 'data.bin', zipfile.ZIP_BZIP2)
`;

/** Flips one bit near the end of a program's own bytes, before its signature. */
async function tamper(path: string, unsigned: string): Promise<void> {
  const bytes = await readFile(path);
  const place = (await readFile(unsigned)).length - 8;
  bytes[place] = (bytes[place] ?? 0) ^ 1;
  await writeFile(path, bytes);
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-local-'));
  pki = await createTestPki({ key: 'p256' });
  authority = await startTimestampAuthority({ identity: pki.timestamping });
  await writeFile(at('code.pfx'), toPfx(pki.codeSigning, PASSPHRASE, 'Test'));
  await writeFile(at('code.pem'), toPem(pki.codeSigning.chain));
  await writeFile(at('code.key'), keyToPem(pki.codeSigning.key, PASSPHRASE));
  await writeFile(at('ca.pem'), toPem([pki.root.certificate]));
  await writeFile(at('tsa.pem'), toPem([authority.root]));
  await writeFile(at('tool.exe'), buildPe({}));
  await writeFile(at('odd.exe'), buildPe({ overlay: Buffer.alloc(13, 7) }));
  await copyFile(
    (await program('inno-iscc.exe').catch(() => program('inno-lzma64.exe'))).path,
    at('theirs.exe'),
  );
  await writeFile(at('notes.txt'), 'notes');
  const files = ['tool.exe', 'odd.exe', 'notes.txt'].map((name) => ({
    path: at(name),
    name: `product/${name}`,
  }));
  await createZip([...files, { path: at('theirs.exe'), name: 'product/theirs.exe' }], at('product.zip'));
});
after(async () => {
  await authority.close();
  await rm(folder, { recursive: true, force: true });
});

describe('signpipe sign, stopped while it waits for a timestamp', () => {
  before(async () => {
    // Larger than what is unpacked in memory.
    await writeFile(at('large.exe'), buildPe());
    await truncate(at('large.exe'), 97 * 2 ** 20);
    await run('zip', ['-q', '-0', 'large.zip', 'large.exe'], { cwd: folder });
  });

  for (const [what, file] of [
    ['a program', 'tool.exe'],
    ['a large zip', 'large.zip'],
  ] as const)
    it(`leaves nothing of ${what} behind`, async () => {
      const silent = createServer().listen(0, '127.0.0.1');
      await once(silent, 'listening');
      const { port } = silent.address() as AddressInfo;
      const [out, scratch] = [at(`stopped-${file}`), at(`scratch-${file}`)];
      for (const each of [out, scratch]) await mkdir(each);
      const args = ['sign', file, '--pfx', 'code.pfx', '--timestamp', `http://127.0.0.1:${port}`];
      const child = spawn(process.execPath, [main, ...args, '--output', join(out, file)], {
        cwd: folder,
        env: { ...process.env, SIGNPIPE_PASSPHRASE: PASSPHRASE, TMPDIR: scratch },
      });
      try {
        await once(silent, 'connection');
        const left = async (): Promise<string[]> => [...(await readdir(out)), ...(await readdir(scratch))];
        assert.notDeepEqual(await left(), []);
        child.kill('SIGINT');
        assert.deepEqual(await once(child, 'close'), [null, 'SIGINT']);
        assert.deepEqual(await left(), []);
      } finally {
        child.kill('SIGKILL');
        silent.close();
      }
    });
});

describe('signpipe sign, stopped while a command signs', () => {
  it('ends the command', async () => {
    const helper = at('hangs');
    await writeFile(helper, `#!/bin/sh\necho $$ > ${at('hangs.pid')}\nexec sleep 300\n`, { mode: 0o755 });
    await run(
      'openssl',
      [...['pkcs12', '-in', 'code.pfx', '-passin', `pass:${PASSPHRASE}`, '-nokeys', '-out', 'code.pem']],
      { cwd: folder },
    );
    const args = ['sign', 'tool.exe', '--key', `exec:${helper}`, '--certificate', 'code.pem'];
    const child = spawn(process.execPath, [main, ...args, '--output', at('never.exe')], { cwd: folder });
    const pid = async (): Promise<string> => (await readFile(at('hangs.pid'), 'utf8').catch(() => '')).trim();
    while ((await pid()) === '' && child.exitCode === null) await delay(20);
    child.kill('SIGINT');
    assert.deepEqual(await once(child, 'close'), [null, 'SIGINT']);
    // It dies in its own time, and some containers keep its zombie.
    await delay(100);
    const state = await readFile(`/proc/${await pid()}/stat`, 'utf8').catch(() => ') Z');
    assert.match(state, /\) Z/);
  });
});

describe('signpipe sign', () => {
  it('writes the signed program beside the input, as osslsigncode verifies', async () => {
    const ended = await signed('tool.exe');
    assert.equal(ended.status, 0, ended.stderr);
    assert.match(ended.stdout, /timestamped \d{4}-/);
    const { stdout } = await run('osslsigncode', [
      ...['verify', '-CAfile', at('ca.pem'), '-TSA-CAfile', at('tsa.pem')],
      ...['-in', at('tool.signed.exe')],
    ]);
    assert.match(stdout, /^Signature verification: ok/m);
    assert.match(stdout, /^Timestamp Server Signature verification: ok/m);
  });

  it('signs with page hashes, which osslsigncode computes as well; not a program for which none are known', async () => {
    const ended = await signed('tool.exe', '--page-hashes', '--output', 'pages.exe');
    assert.equal(ended.status, 0, ended.stderr);
    const args = ['verify', '-CAfile', at('ca.pem'), '-TSA-CAfile', at('tsa.pem'), '-in', at('pages.exe')];
    const { stdout } = await run('osslsigncode', args);
    assert.match(stdout, /^Page hash algorithm {2}: SHA256$/m);
    assert.doesNotMatch(stdout, /MISMATCH/);
    const odd = buildPe();
    odd.writeUInt32LE(0x2000, peLayout().optionalHeader + 32);
    await writeFile(at('aligned.exe'), odd);
    assertRefused(await signed('aligned.exe', '--page-hashes'), 3, 'page-hashes-layout', /--page-hashes/);
  });

  it('signs the programs of a zip, and keeps the one that its author signed', async () => {
    const ended = await signed('product.zip', '--output', 'product.signed.zip', '--json');
    assert.equal(ended.status, 0, ended.stderr);
    const report = JSON.parse(ended.stdout) as {
      signed: { path: string }[];
      kept: { path: string; signer: string }[];
      output: { sha256: string };
    };
    assert.deepEqual(report.signed.map(({ path }) => path).sort(), ['product/odd.exe', 'product/tool.exe']);
    assert.deepEqual(
      report.kept.map(({ path }) => path),
      ['product/theirs.exe'],
    );
    assert.equal(await sha256OfFile(at('product.signed.zip')), report.output.sha256);
    await run('unzip', ['-tq', at('product.signed.zip')]);
  });

  it('signs in place, with an encrypted PEM key and a chain, several files at once', async () => {
    await mkdir(at('place'), { recursive: true });
    for (const name of ['tool.exe', 'odd.exe']) await copyFile(at(name), at('place', name));
    const ended = await here(
      'sign',
      'place/tool.exe',
      'place/odd.exe',
      '--in-place',
      ...PEM,
      '--digest',
      'sha384',
    );
    assert.equal(ended.status, 0, ended.stderr);
    assert.match(ended.stderr, /no --timestamp/);
    assert.deepEqual((await readdir(at('place'))).sort(), ['odd.exe', 'tool.exe']);
    assert.equal((await verified('place/tool.exe', 'place/odd.exe')).status, 0);
  });

  const refused: [what: string, args: string[], status: number, code: string][] = [
    ['a file that is not there', ['none.exe'], 2, 'file-not-found'],
    ['a text', ['notes.txt'], 3, 'not-signable'],
    ['a pattern that names a text', ['product.zip', '--force', '--files', '**/*'], 3, 'not-a-program'],
    ['patterns that name nothing', ['product.zip', '--force', '--files', '**/*.sys'], 3, 'nothing-to-sign'],
    [
      'a signed program where policy says reject',
      ['theirs.exe', '--already-signed', 'reject'],
      3,
      'already-signed',
    ],
    ['two outputs', ['tool.exe', '--output', 'x.exe', '--in-place'], 2, 'output-twice'],
    ['one output for several', ['tool.exe', 'odd.exe', '--output', 'x.exe'], 2, 'one-output-for-several'],
  ];
  for (const [what, args, status, code] of refused) {
    it(`${code}: ${what}`, async () => {
      const before = await readdir(folder);
      const ended = await signed(...args);
      assertRefused(ended, status, code);
      assert.deepEqual(await readdir(folder), before);
    });
  }

  it('asks on a terminal for the passphrase of an encrypted key only', async () => {
    await writeFile(at('open.key'), keyToPem(pki.codeSigning.key));
    const sign = (key: string): Promise<Shown> => {
      const pem = ['--certificate', 'code.pem', '--key', key];
      const argv = ['sign', 'tool.exe', ...pem, '--output', 'typed.exe', '--force'];
      return onTerminal([process.execPath, main, ...argv], { cwd: folder, type: PASSPHRASE });
    };
    for (const [key, asks] of [
      ['code.key', true],
      ['open.key', false],
    ] as const) {
      const { text, status } = await sign(key);
      assert.equal(status, 0, text);
      assert.match(text, /typed\.exe: signed/);
      assert.equal(text.includes(`Passphrase for ${key}`), asks, text);
      assert.ok(!text.includes(PASSPHRASE));
    }
  });

  for (const [code, args, advice] of [
    ['nothing-to-sign', ['tool.exe', '--files', '*.dll'], /--files/],
    ['nothing-to-sign', ['theirs.exe'], /--already-signed/],
    ['nothing-to-sign', ['product.zip', '--files', '*.dll'], /--files/],
    ['already-signed', ['theirs.exe', '--already-signed', 'reject'], /--already-signed/],
    ['kept-signature-bad', ['damaged.zip'], /'!theirs\.exe'.* --files.* --already-signed/s],
    ['not-a-program', ['product.zip', '--files', '**/notes.txt'], /--files/],
  ] as const)
    it(`${code}: names its own flags, not a signer's settings (${args.join(' ')})`, async () => {
      const damaged = await readFile(at('theirs.exe'));
      damaged[damaged.length >> 1] = (damaged[damaged.length >> 1] ?? 0) ^ 1;
      await mkdir(at('damaged'), { recursive: true });
      await writeFile(at('damaged', 'theirs.exe'), damaged);
      await createZip([{ path: at('damaged', 'theirs.exe'), name: 'theirs.exe' }], at('damaged.zip'));
      const ended = await signed(...args, '--output', 'refused.out');
      assertRefused(ended, 3, code, advice);
      assert.doesNotMatch(ended.stderr, /signing\.|the signer/);
    });

  it('key-missing, and a wrong passphrase that is not printed', async () => {
    const missing = (await here('sign', 'tool.exe', '--force')).stderr;
    assert.match(missing, /no signing key.*\[key-missing\]/);
    assert.match(missing, /give --pfx FILE, or --certificate FILE and --key FILE/);
    const useless = await here('sign', 'tool.exe', '--force', '--pfx', 'code.pfx', '--concurrency', '2');
    assertRefused(useless, 2, 'key-setting', /^signpipe: --concurrency: a key in a PKCS#12 file has no such/);
    const wrong = 'wrong-and-secret';
    const ended = await signpipe(['sign', 'tool.exe', '--force', '--pfx', 'code.pfx', '-v'], {
      cwd: folder,
      env: { SIGNPIPE_PASSPHRASE: wrong },
    });
    assertRefused(ended, 2, 'pfx-wrong-passphrase');
    assert.doesNotMatch(ended.stderr + ended.stdout, new RegExp(wrong));
  });

  it('timestamp-unavailable: accepts no timestamp of an authority whose root is not in --timestamp-ca', async () => {
    await makeReal(folder);
    const real = ['--certificate', 'real.pem', '--key', 'real.key', '--timestamp', authority.url];
    const output = ['tool.exe', '--output', 'real.exe'];
    const refused = await here('sign', ...output, ...real);
    assert.equal(refused.status, 1, refused.stderr);
    assert.match(
      refused.stderr,
      /\[timestamp-untrusted\].*timestamp-unavailable.*, add public and .* to --timestamp-ca/s,
    );
    assert.ok(!(await readdir(folder)).includes('real.exe'));
    const both = ['--timestamp-ca', 'public', '--timestamp-ca', 'tsa.pem'];
    const trusted = await here('sign', ...output, ...real, ...both);
    assert.equal(trusted.status, 0, trusted.stderr);
    assert.equal((await here('verify', 'real.exe', '--ca', 'root.pem', ...both)).status, 0);
    const publicOnly = await here('verify', 'real.exe', '--ca', 'root.pem', '--timestamp-ca', 'public');
    assert.equal(publicOnly.status, 3);
  });

  it('timestamp-unavailable: leaves nothing under the final name if no authority answers', async () => {
    const ended = await here(
      ...['sign', 'tool.exe', '--pfx', 'code.pfx', '--output', 'never.exe'],
      ...['--timestamp', `${authority.url}garbage`],
    );
    assertRefused(ended, 1, 'timestamp-unavailable');
    assert.ok(!(await readdir(folder)).some((name) => name.includes('never')));
  });
});

describe('signpipe verify', () => {
  it('accepts a program signed under the roots, and reports signer, expiry and timestamp', async () => {
    const ended = await verified('tool.signed.exe');
    assert.equal(ended.status, 0, ended.stdout);
    for (const pattern of [/signed by .*Test publisher/, /certificate valid/, /timestamp .*\d{4}-/])
      assert.match(ended.stdout, pattern);
  });

  it('accepts a zip with programs of others, and counts them', async () => {
    const ended = await verified('product.signed.zip');
    assert.equal(ended.status, 0, ended.stdout);
    assert.match(ended.stdout, /3 programs: 2 signed under the given roots, 1 signed by others/);
  });

  it('refuses that zip if --files says that all of them must be signed under --ca', async () => {
    assert.equal((await verified('product.signed.zip', '--files', '**/*.exe')).status, 3);
    assert.equal(
      (await verified('product.signed.zip', '--files', '**/*.exe', '--files', '!**/theirs.exe')).status,
      0,
    );
  });

  it('proves a zip by its original, with roots', async () => {
    const ended = await verified('product.signed.zip', '--original', 'product.zip');
    assert.equal(ended.status, 0, ended.stdout);
    assert.match(ended.stdout, /plus 2 signatures, and nothing else/);
  });

  it('is not good without --ca, proved or not, unless --any-signer is given', async () => {
    for (const proof of [[], ['--original', 'product.zip']])
      for (const quiet of [[], ['--quiet']]) {
        const argv = ['verify', 'product.signed.zip', ...proof, ...quiet];
        const ended = await here(...argv);
        assert.equal(ended.status, 3, ended.stdout);
        assert.match(ended.stdout, /FAILED: who signed was not checked: give --ca ROOTS, or --any-signer/);
        const any = await here(...argv, '--any-signer');
        assert.equal(any.status, 0, any.stdout);
        assert.match(any.stdout, /^product\.signed\.zip: intact; who signed was not checked$/m);
      }
  });

  it('--any-signer accepts neither an unsigned program nor another original', async () => {
    assert.equal((await here('verify', 'tool.exe', '--any-signer')).status, 3);
    const other = await here('verify', 'tool.signed.exe', '--any-signer', '--original', 'odd.exe', '--quiet');
    assert.equal(other.status, 3);
    assert.match(other.stdout, /FAILED: not the original plus signatures: .*\[strip-/);
  });

  it('--identity accepts exactly the subject, the subject with the issuer, and nothing else', async () => {
    const { subject, issuer } = pki.codeSigning.certificate;
    for (const identity of [subject, `${subject}; ${issuer}`])
      for (const file of ['tool.signed.exe', 'product.signed.zip']) {
        const ended = await verified(file, '--identity', identity);
        assert.equal(ended.status, 0, ended.stdout);
      }
    for (const identity of [
      subject.toUpperCase(),
      `${subject}, `,
      'Test publisher',
      issuer,
      `${subject}; CN=x`,
    ])
      for (const file of ['tool.signed.exe', 'product.signed.zip']) {
        const ended = await verified(file, '--identity', identity, '--quiet');
        assert.equal(ended.status, 3, ended.stdout);
        assert.match(
          ended.stdout,
          /: NOT AS ASKED\n(?:.*\n)?  FAILED: .*: is not signed by .*, but by O=.*; O=.* \[identity-differs\]$/m,
        );
      }
  });

  it('--identity applies to every program that --files names', async () => {
    const { subject } = pki.codeSigning.certificate;
    const files = ['--files', '**/*.exe', '--files', '!**/theirs.exe'];
    assert.equal((await verified('product.signed.zip', ...files, '--identity', subject)).status, 0);
    const other = await verified('product.signed.zip', ...files, '--identity', 'CN=Other', '--json');
    const { faults } = JSON.parse(other.stdout) as { faults: string[] };
    assert.equal(other.status, 3);
    assert.ok(faults.length > 0 && faults.every((fault) => fault.endsWith('[identity-differs]')));
  });

  it('identity-without-ca: anyone can make a certificate with any name', async () => {
    const ended = await here('verify', 'tool.signed.exe', '--identity', 'CN=x', '--any-signer');
    assertRefused(ended, 2, 'identity-without-ca');
  });

  it('--json has the identity of each signer, which stays the same when the certificate is renewed', async () => {
    const { subject, issuer } = pki.codeSigning.certificate;
    const ended = await verified('tool.signed.exe', '--json');
    const { programs } = JSON.parse(ended.stdout) as { programs: { signatures: { identity: object }[] }[] };
    assert.deepEqual(programs[0]?.signatures[0]?.identity, { subject, issuer });
  });

  it('any-signer-with-ca: the two contradict each other', async () => {
    const ended = await verified('tool.signed.exe', '--any-signer');
    assertRefused(ended, 2, 'any-signer-with-ca');
  });

  it('names what it could not examine, also with --quiet, and zips inside', async () => {
    await run('zip', ['-q', 'inner.zip', 'tool.exe'], { cwd: folder });
    await run('python3', ['-c', PACK_ODDLY], { cwd: folder });
    const ended = await verified('odd.zip', '--quiet');
    assert.equal(ended.status, 0, ended.stdout);
    assert.match(ended.stdout, /not examined: odd\.zip: entry "data\.bin" is compressed by method 12/);
    assert.match((await verified('odd.zip')).stdout, /^ {2}inner\.zip!\/tool\.exe: /m);
    const meant = await verified('odd.zip', '--quiet', '--files', '**/*.exe', '--files', '*.bin');
    assert.equal(meant.status, 3);
    assert.match(meant.stdout, /FAILED: .*"data\.bin".* \[zip-method-unsupported\]/);
  });

  it('--inside: what sign did inside of a zip in a zip, and what verify finds there', async () => {
    await run('zip', ['-q', 'inside.zip', 'tool.exe'], { cwd: folder });
    await run('zip', ['-q', 'outside.zip', 'inside.zip', 'tool.exe'], { cwd: folder });
    const refused = await signed('outside.zip', '--inside', 'require-signed');
    assertRefused(refused, 3, 'inside-unsigned');
    assert.match(refused.stderr, /set --inside to sign/);
    const ended = await signed('outside.zip', '--inside', 'sign');
    assert.equal(ended.status, 0, ended.stderr);
    assert.match(ended.stdout, /signed 1 of 2 files, and 1 inside[^]*inside\.zip!\/tool\.exe/);
    const proved = await verified(
      'outside.signed.zip',
      '--original',
      'outside.zip',
      '--files',
      'inside.zip!/**',
    );
    assert.equal(proved.status, 0, proved.stdout);
    assert.match(proved.stdout, /proved: it is outside\.zip plus 2 signatures/);
  });

  it('says why something is not good, also with --quiet', async () => {
    const reasons: [RegExp, ...string[]][] = [
      [/FAILED: it is not signed/, 'tool.exe'],
      [
        /FAILED: product\/theirs\.exe: is not signed under the given roots/,
        'product.signed.zip',
        '--files',
        '**/*.exe',
      ],
      [
        /FAILED: it contains none of the programs that must be signed/,
        'product.signed.zip',
        '--files',
        '**/*.sys',
      ],
    ];
    for (const [reason, ...argv] of reasons) {
      const ended = await verified(...argv, '--quiet');
      assert.equal(ended.status, 3, ended.stdout);
      assert.match(ended.stdout, reason);
    }
    const { stdout } = await verified('tool.exe', '--json');
    const report = JSON.parse(stdout) as { good: boolean; faults: string[] };
    assert.deepEqual([report.good, report.faults], [false, ['it is not signed']]);
  });

  it('names a bad program of a zip once, and what is wrong with it', async () => {
    await copyFile(at('tool.signed.exe'), at('changed.exe'));
    await tamper(at('changed.exe'), at('tool.exe'));
    await createZip([{ path: at('changed.exe'), name: 'deep/changed.exe' }], at('deep.zip'));
    const { stdout } = await verified('deep.zip', '--quiet');
    assert.match(stdout, /FAILED: deep\/changed\.exe: signature: it signs .*\[file-digest-differs\]/);
  });

  it('does not accept any signer: without --ca the exit status is 3', async () => {
    const ended = await here('verify', 'tool.signed.exe');
    assert.equal(ended.status, 3);
    assert.match(ended.stdout, /intact, but who signed was not checked/);
  });

  it('finds one flipped bit, in a program and in a program of a zip', async () => {
    await copyFile(at('tool.signed.exe'), at('flipped.exe'));
    await tamper(at('flipped.exe'), at('tool.exe'));
    for (const how of ['--json', '--quiet']) {
      const ended = await verified('flipped.exe', how);
      assert.equal(ended.status, 3);
      assert.match(ended.stdout, /file-digest-differs/);
    }
    await createZip(
      [
        { path: at('flipped.exe'), name: 'a.exe' },
        { path: at('tool.signed.exe'), name: 'b.exe' },
      ],
      at('flipped.zip'),
    );
    assert.equal((await verified('flipped.zip')).status, 3);
  });

  it('says what differs from the original, and what is not signed', async () => {
    const other = await verified('tool.signed.exe', '--original', 'odd.exe');
    assert.equal(other.status, 3);
    assert.match(other.stdout, /not the original plus signatures: .*strip-/s);
    const plain = await verified('tool.exe');
    assert.equal(plain.status, 3);
    assert.match(plain.stdout, /not signed/);
  });
});

describe('signpipe signature', () => {
  it('removes a signature and attaches it again, byte for byte', async () => {
    assert.equal((await here('signature', 'extract', 'tool.signed.exe', '-o', 'tool.p7')).status, 0);
    await run('openssl', ['pkcs7', '-inform', 'DER', '-in', at('tool.p7'), '-noout']);
    assert.equal((await here('signature', 'remove', 'tool.signed.exe', '-o', 'bare.exe')).status, 0);
    for (const bare of ['bare.exe', 'tool.exe']) {
      assert.equal(
        (await here('signature', 'attach', bare, '--signature', 'tool.p7', '-o', `again-${bare}`)).status,
        0,
      );
      assert.equal(await sha256OfFile(at(`again-${bare}`)), await sha256OfFile(at('tool.signed.exe')));
    }
  });

  it('not-signed: an unsigned program', async () => {
    const ended = await here('signature', 'extract', 'tool.exe', '-o', 'x.p7');
    assertRefused(ended, 3, 'not-signed');
  });

  it('signature-missing: neither --signature nor --receipt', async () => {
    const ended = await here('signature', 'attach', 'tool.exe', '-o', 'x.exe');
    assertRefused(ended, 2, 'signature-missing');
  });
});
