import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmod,
  chown,
  copyFile,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { buildPe } from '../../fixtures/pe.ts';
import { signpipe, type Ended } from '../../world/site.ts';
import { makeCodeSigner, pem, privatePem } from '../../lib/x509/certificate-maker.ts';

const main = join(import.meta.dirname, '../../../dist/main.js');
const isRoot = process.getuid?.() === 0;

let folder: string;
let place: string;
const at = (...names: string[]): string => join(place, ...names);
const key = (): string[] => ['--certificate', join(folder, 'c.pem'), '--key', join(folder, 'k.pem')];
const here = (...args: string[]): Promise<Ended> => signpipe(args, { cwd: place });
const sign = (...args: string[]): Promise<Ended> => here('sign', ...key(), ...args);

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-output-'));
  const signer = makeCodeSigner({ name: 'me' });
  await writeFile(join(folder, 'c.pem'), pem(signer));
  await writeFile(join(folder, 'k.pem'), privatePem(signer), { mode: 0o600 });
  await writeFile(join(folder, 'a.exe'), buildPe());
});
let count = 0;
beforeEach(async () => {
  place = join(folder, `place-${(count += 1)}`);
  await mkdir(place);
  await copyFile(join(folder, 'a.exe'), at('a.exe'));
});
after(() => rm(folder, { recursive: true, force: true }));

async function refused(ended: Ended, code: string, status: number): Promise<void> {
  assert.equal(ended.status, status, ended.stderr + ended.stdout);
  assert.match(ended.stderr, new RegExp(`^signpipe: [^\\n]*\\[${code}\\]$`, 'm'));
  assert.doesNotMatch(ended.stderr, /^\s+at /m, 'no stack trace');
  assert.ok(!(await readdir(place)).some((name) => name.endsWith('.part')), 'nothing half-written');
}

async function good(ended: Ended, file: string): Promise<void> {
  assert.equal(ended.status, 0, ended.stderr);
  const verified = await here('verify', file, '--json');
  assert.match(verified.stdout, /"status":"intact"/);
}

const unsigned = (): Promise<Buffer> => readFile(join(folder, 'a.exe'));

describe('sign --in-place', () => {
  it('keeps the mode', async () => {
    for (const mode of [0o600, 0o750, 0o644, 0o4755]) {
      await copyFile(join(folder, 'a.exe'), at('a.exe'));
      await chmod(at('a.exe'), mode);
      await good(await sign('--in-place', 'a.exe'), 'a.exe');
      assert.equal((await stat(at('a.exe'))).mode & 0o7777, mode);
      await rm(at('a.exe'));
    }
  });

  it('keeps owner and group', { skip: !isRoot && 'needs root' }, async () => {
    await chown(at('a.exe'), 1234, 4321);
    await chmod(at('a.exe'), 0o6750);
    await good(await sign('--in-place', 'a.exe'), 'a.exe');
    const { uid, gid, mode } = await stat(at('a.exe'));
    assert.deepEqual([uid, gid, mode & 0o7777], [1234, 4321, 0o6750]);
  });

  it('keeps hard links: every name shows the signed file', async () => {
    await link(at('a.exe'), at('hard.exe'));
    await good(await sign('--in-place', 'a.exe'), 'hard.exe');
    assert.equal((await stat(at('hard.exe'))).ino, (await stat(at('a.exe'))).ino);
    assert.deepEqual((await readdir(place)).sort(), ['a.exe', 'hard.exe']);
  });

  it('keeps hard links of a file that gets shorter', async () => {
    await good(await sign('--in-place', 'a.exe', '--name', 'x'.repeat(300)), 'a.exe');
    await link(at('a.exe'), at('hard.exe'));
    const { size } = await stat(at('a.exe'));
    await good(await sign('--in-place', 'a.exe', '--already-signed', 'replace'), 'hard.exe');
    assert.ok((await stat(at('hard.exe'))).size < size);
  });

  it('writes through a link, and through a link to a link', async () => {
    await mkdir(at('other'));
    await copyFile(at('a.exe'), at('other', 't.exe'));
    await symlink('other/t.exe', at('link.exe'));
    await symlink('link.exe', at('second.exe'));
    await good(await sign('--in-place', 'second.exe'), 'other/t.exe');
    for (const name of ['link.exe', 'second.exe']) assert.ok((await lstat(at(name))).isSymbolicLink());
    assert.deepEqual(await readdir(at('other')), ['t.exe']);
  });

  it('output-shared: two names of one file', async () => {
    await symlink('a.exe', at('link.exe'));
    await refused(await sign('--in-place', 'a.exe', 'link.exe'), 'output-shared', 2);
    assert.deepEqual(await readFile(at('a.exe')), await unsigned());
  });

  it('file-not-found: a link that leads nowhere; not-a-file: a folder', async () => {
    await symlink('nowhere', at('link.exe'));
    await refused(await sign('--in-place', 'link.exe'), 'file-not-found', 2);
    await mkdir(at('folder.exe'));
    await refused(await sign('--in-place', 'folder.exe'), 'not-a-file', 2);
  });

  it('disk-full: leaves every name of the file as it was', async () => {
    await link(at('a.exe'), at('hard.exe'));
    const { size } = await stat(at('a.exe'));
    const blocks = Math.floor(size / 1024);
    await refused(await limited(blocks, 'sign', ...key(), '--in-place', 'a.exe'), 'disk-full', 1);
    assert.deepEqual(await readFile(at('hard.exe')), await unsigned());
  });
});

/** Runs a command that can write no file above a size in KiB, as on a full disk, without root. */
function limited(blocks: number, ...args: string[]): Promise<Ended> {
  const script = `trap '' XFSZ; ulimit -f ${blocks}; exec "$0" "$@"`;
  const { status, stdout, stderr } = spawnSync('bash', ['-c', script, process.execPath, main, ...args], {
    cwd: place,
    encoding: 'utf8',
  });
  return Promise.resolve({ status: status ?? -1, stdout, stderr });
}

describe('sign --output', () => {
  it('a name of 250 bytes is not too long for a file system', async () => {
    const name = `${'ü'.repeat(123)}.exe`;
    await good(await sign('a.exe', '--output', name), name);
  });

  it('output-exists: an existing file, also at the default name beside the input', async () => {
    await writeFile(at('a.signed.exe'), 'precious');
    for (const argv of [[], ['--output', 'a.signed.exe'], ['--output', '.']]) {
      await refused(await sign('a.exe', ...argv), 'output-exists', 2);
      assert.equal(await readFile(at('a.signed.exe'), 'utf8'), 'precious');
    }
    assert.deepEqual(await readFile(at('a.exe')), await unsigned());
  });

  it('replaces it with --force, and keeps its mode, but not its hard links', async () => {
    await writeFile(at('out.exe'), 'old', { mode: 0o750 });
    await link(at('out.exe'), at('kept.exe'));
    await good(await sign('a.exe', '--output', 'out.exe', '--force'), 'out.exe');
    assert.equal((await stat(at('out.exe'))).mode & 0o777, 0o750);
    assert.equal(await readFile(at('kept.exe'), 'utf8'), 'old');
  });

  it('output-not-a-file: a link, a dangling link, a device, a pipe; with --force too', async () => {
    await writeFile(at('victim.txt'), 'keep');
    await symlink('victim.txt', at('link.exe'));
    await symlink('nowhere.exe', at('dangling.exe'));
    execFileSync('mkfifo', [at('pipe.exe')]);
    for (const name of ['link.exe', 'dangling.exe', 'pipe.exe', '/dev/null', '/dev/full'])
      for (const force of [[], ['--force']])
        await refused(await sign('a.exe', '--output', name, ...force), 'output-not-a-file', 2);
    assert.equal(await readFile(at('victim.txt'), 'utf8'), 'keep');
    assert.ok((await stat('/dev/null')).isCharacterDevice());
    assert.ok((await lstat(at('pipe.exe'))).isFIFO());
  });

  it('output-folder-missing: no folder, or a file in its place', async () => {
    for (const name of ['none/x.exe', 'none/', 'a.exe/x.exe'])
      await refused(await sign('a.exe', '--output', name), 'output-folder-missing', 2);
  });

  it('output-shared: inputs with the same name for one folder; nothing is signed', async () => {
    for (const name of ['one', 'two', 'out']) await mkdir(at(name));
    for (const name of ['one', 'two']) await copyFile(at('a.exe'), at(name, 'a.exe'));
    await refused(await sign('one/a.exe', 'two/a.exe', '--output', 'out'), 'output-shared', 2);
    assert.deepEqual(await readdir(at('out')), []);
  });

  it('is checked for all files before the first one is signed', async () => {
    await mkdir(at('out'));
    await copyFile(at('a.exe'), at('b.exe'));
    await writeFile(at('out', 'b.exe'), 'precious');
    await refused(await sign('a.exe', 'b.exe', '--output', 'out'), 'output-exists', 2);
    assert.deepEqual(await readdir(at('out')), ['b.exe']);
  });

  it('permission-denied: a folder that this account may not write to', async () => {
    await mkdir(at('closed'), { mode: 0o555 });
    const argv = ['sign', ...key(), 'a.exe', '--output', 'closed/x.exe'];
    const ended = isRoot ? await asNobody(argv) : await here(...argv);
    await refused(ended, 'permission-denied', 2);
  });

  it('disk-full: leaves nothing', async () => {
    for (const name of ['small.exe', 'large.exe']) {
      await copyFile(at('a.exe'), at(name));
      await truncate(at(name), name === 'small.exe' ? 64 * 1024 : 4 * 2 ** 20);
      await refused(await limited(32, 'sign', ...key(), name, '--output', 'x.exe'), 'disk-full', 1);
    }
    assert.deepEqual((await readdir(place)).sort(), ['a.exe', 'large.exe', 'small.exe']);
  });

  it('disk-full: a file system of 64 kB', { skip: !canMount() && 'needs to mount' }, async () => {
    await mkdir(at('disk'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', at('disk')]);
    try {
      await copyFile(at('a.exe'), at('large.exe'));
      await truncate(at('large.exe'), 200 * 1024);
      await refused(await sign('large.exe', '--output', 'disk/x.exe'), 'disk-full', 1);
      assert.deepEqual(await readdir(at('disk')), []);
    } finally {
      execFileSync('umount', [at('disk')]);
    }
  });

  it('disk-full: standard output itself', () => {
    for (const argv of [
      ['verify', 'a.exe'],
      ['verify', 'a.exe', '--json'],
    ]) {
      const script = 'exec "$0" "$@" > /dev/full';
      const { status, stderr } = spawnSync('bash', ['-c', script, process.execPath, main, ...argv], {
        cwd: place,
        encoding: 'utf8',
      });
      assert.equal(status, 1);
      assert.match(stderr, /^signpipe: standard output: the disk is full .*\[disk-full\]$/m);
      assert.doesNotMatch(stderr, /^\s+at /m);
    }
  });
});

function canMount(): boolean {
  return isRoot && spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0;
}

/** Runs a command as an account that owns nothing here. */
async function asNobody(argv: string[]): Promise<Ended> {
  for (const path of [folder, place]) await chmod(path, 0o755);
  await chmod(join(folder, 'k.pem'), 0o644);
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...argv], {
    cwd: place,
    encoding: 'utf8',
    uid: 65_534,
    gid: 65_534,
  });
  await chmod(join(folder, 'k.pem'), 0o600);
  return { status: status ?? -1, stdout, stderr };
}

describe('signature attach', () => {
  it('not-its-signature: not a signature, or one of another program; nothing is written', async () => {
    await writeFile(at('b.exe'), buildPe({ overlay: Buffer.from('another') }));
    for (const name of ['a', 'b']) {
      await sign(`${name}.exe`);
      await here('signature', 'extract', `${name}.signed.exe`, '-o', `${name}.p7`);
    }
    const flipped = await readFile(at('a.p7'));
    flipped[flipped.length - 20] = (flipped.at(-20) ?? 0) ^ 1;
    await writeFile(at('flipped.p7'), flipped);
    await writeFile(at('trailing.p7'), Buffer.concat([await readFile(at('a.p7')), Buffer.from('more')]));
    await writeFile(at('noise.p7'), 'no signature at all');
    await writeFile(at('empty.p7'), '');
    execFileSync('openssl', [
      'crl2pkcs7',
      '-nocrl',
      '-certfile',
      join(folder, 'c.pem'),
      '-outform',
      'DER',
      '-out',
      at('bag.p7'),
    ]);
    for (const name of ['b.p7', 'flipped.p7', 'trailing.p7', 'noise.p7', 'empty.p7', 'bag.p7', 'a.exe']) {
      const ended = await here('signature', 'attach', 'a.exe', '--signature', name, '-o', 'x.exe');
      await refused(ended, 'not-its-signature', 3);
    }
    assert.ok(!(await readdir(place)).includes('x.exe'));
    const ended = await here('signature', 'attach', 'a.exe', '--signature', 'a.p7', '-o', 'x.exe');
    assert.equal(ended.status, 0, ended.stderr);
    assert.deepEqual(await readFile(at('x.exe')), await readFile(at('a.signed.exe')));
  });

  it('output-exists, output-not-a-file: like sign, also for extract and remove', async () => {
    await sign('a.exe');
    await here('signature', 'extract', 'a.signed.exe', '-o', 'a.p7');
    await writeFile(at('x'), 'precious');
    await symlink('x', at('link'));
    for (const argv of [
      ['attach', 'a.exe', '--signature', 'a.p7'],
      ['extract', 'a.signed.exe'],
      ['remove', 'a.signed.exe'],
    ]) {
      await refused(await here('signature', ...argv, '-o', 'x'), 'output-exists', 2);
      await refused(await here('signature', ...argv, '-o', 'link', '--force'), 'output-not-a-file', 2);
      assert.equal(await readFile(at('x'), 'utf8'), 'precious');
    }
    const ended = await here('signature', 'remove', 'a.signed.exe', '-o', 'x', '--force');
    assert.equal(ended.status, 0, ended.stderr);
  });
});

describe('--json', () => {
  it('of signature says which file was made from which', async () => {
    await sign('a.exe');
    const made = async (...argv: string[]): Promise<Record<string, unknown>> => {
      const ended = await here('signature', ...argv, '--json', '--force');
      assert.equal(ended.status, 0, ended.stderr);
      return JSON.parse(ended.stdout) as Record<string, unknown>;
    };
    for (const [argv, path] of [
      [['extract', 'a.signed.exe', '-o', 'a.p7'], 'a.p7'],
      [['remove', 'a.signed.exe', '-o', 'bare.exe'], 'bare.exe'],
      [['attach', 'bare.exe', '--signature', 'a.p7', '-o', 'again.exe'], 'again.exe'],
    ] as const)
      assert.deepEqual(await made(...argv), {
        input: argv[1],
        path,
        size: (await stat(at(path))).size,
        sha256: execFileSync('sha256sum', [at(path)], { encoding: 'utf8' }).slice(0, 64),
      });
  });

  it('of init lists the remaining steps', async () => {
    const ended = await here('init', 'builder', 'site', '--name', 'b', '--email', 'b@example.org', '--json');
    assert.equal(ended.status, 0, ended.stderr);
    const { what, dir, steps } = JSON.parse(ended.stdout) as {
      what: string;
      dir: string;
      steps: { what: string; lines: string[] }[];
    };
    assert.deepEqual([what, dir], ['builder', at('site')]);
    assert.ok(steps.length > 0 && steps.every((step) => step.what !== '' && Array.isArray(step.lines)));
    const again = await here('init', 'builder', 'site', '--json');
    assert.equal((JSON.parse(again.stdout) as { error: { kind: string } }).error.kind, 'usage');
  });
});

describe('the help', () => {
  it('shows defaults as they are typed, not in milliseconds or brackets', async () => {
    for (const command of ['submit', 'wait', 'sign', 'verify', 'audit']) {
      const { stdout } = await here(command, '--help');
      assert.doesNotMatch(stdout, /default: (?:\d{4,}|\[\]|\[object)/);
      if (command === 'wait' || command === 'submit') assert.match(stdout, /\(default: 30m\)/);
    }
  });
});

describe('a mistake on the command line', () => {
  const wrong: [argv: string[], message: RegExp][] = [
    [['sign'], /missing required argument 'files'/],
    [['sign', 'a.exe', '--jsn'], /unknown option '--jsn' \(Did you mean --json\?\)/],
    [['bogus'], /unknown command 'bogus'/],
    [['verify', 'a.exe', '--ca'], /option '--ca <pem>' argument missing/],
    [['sign', 'a.exe', '--digest', 'md5'], /Allowed choices are sha256/],
    [['wait', 'x', '-c', 'b.yaml', '--timeout', 'soon'], /write 30s, 10m or 2h/],
    [['submit', 'a.exe'], /required option '-c, --config <file>'/],
  ];
  for (const [argv, message] of wrong)
    it(`command-line: ${argv.join(' ')}`, async () => {
      const plain = await here(...argv);
      await refused(plain, 'command-line', 2);
      assert.match(plain.stderr, message);
      assert.equal(plain.stdout, '');
      const { stdout, status } = await here(argv[0] ?? '', '--json', ...argv.slice(1));
      assert.equal(status, 2);
      const { error } = JSON.parse(stdout) as { error: Record<string, unknown> };
      assert.deepEqual([error['code'], error['kind'], error['retry']], ['command-line', 'usage', false]);
      assert.match(String(error['message']), message);
    });
});
