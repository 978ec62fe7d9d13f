import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { AuditWorld } from '../../app/auditor/sample-history.ts';
import { main, signpipe, type Ended } from './cli.ts';

const audit = (args: readonly string[]): Promise<Ended> => signpipe('audit', ...args);

async function snapshot(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.map((entry) => join(entry.parentPath, entry.name)).sort();
  const stats = await Promise.all(paths.map((path) => stat(path)));
  return paths.map((path, i) => `${path} ${stats[i]?.size} ${stats[i]?.mtimeMs}`);
}

describe('signpipe audit', () => {
  let world: AuditWorld;
  let signers: string;
  let receipt: string;
  const noon = new Date('2026-01-05T12:00:00Z');

  before(async () => {
    world = await AuditWorld.create();
    signers = await world.allowedFile();
    const programs = [
      await world.program('bin/early.exe', new Date(noon.getTime() - 60_000)),
      await world.program('bin/late.exe', new Date(noon.getTime() + 60_000)),
    ];
    receipt = await world.receipt(await world.request({ name: 'good.zip' }), { programs });
    await world.receipt(await world.request({ name: 'refused.zip', author: 'Eve \u001b[31m' }), {});
    await world.request({ name: 'pending.zip' });
    await world.write();
  });
  after(() => world.close());

  const common = (): string[] => ['--repo', world.gitDir, '--allowed-signers', signers];

  it('prints a table, verifies everything, writes nothing to the repository, and exits 0', async () => {
    const before = await snapshot(world.gitDir);
    const { status, stdout, stderr } = await audit(common());
    assert.deepEqual([status, stderr], [0, '']);
    assert.match(stdout, /good\.zip +builder@example\.org +- +2\/12 +[0-9a-f]{8} +2m +signed/);
    assert.match(stdout, /refused\.zip .* rejected\n {2}digest-differs: /);
    assert.match(stdout, /pending\.zip .* waiting/);
    assert.match(stdout, /every signature and every link holds/);
    assert(stdout.split('\n').every((line) => line.length <= 130));
    assert.deepEqual(await snapshot(world.gitDir), before);
  });

  it('reads a URL through a temporary clone', async () => {
    const { status, stdout } = await audit([
      '--repo',
      `file://${world.gitDir}`,
      '--allowed-signers',
      signers,
    ]);
    assert.equal(status, 0);
    assert.match(stdout, /good\.zip/);
  });

  it('exits 3 and names the commit if something is wrong, whatever is filtered out', async () => {
    const forged = await world.another();
    const odd = await forged.receipt(await forged.request(), { by: forged.keys.stranger });
    await forged.write();
    const args = ['--repo', forged.gitDir, '--allowed-signers', signers];
    for (const more of [[], ['--outcome', 'signed'], ['--quiet'], ['--json']]) {
      const { status, stdout } = await audit([...args, ...more]);
      assert.equal(status, 3);
      assert(stdout.includes(odd) && stdout.includes('commit-signer-unknown'), stdout);
    }
  });

  it('audit-signers-missing: the repository itself cannot say whose signatures count', async () => {
    const { status, stdout, stderr } = await audit(['--repo', world.gitDir]);
    assert.deepEqual([status, stdout], [2, '']);
    assert.match(stderr, /\[audit-signers-missing\]\n.*--allowed-signers/);
  });

  describe('with an auditor.yaml', () => {
    const auditor = (): string => join(dirname(signers), 'auditor.yaml');

    it('fetches into a clone that it keeps, and says what the options would say', async () => {
      const lines = [
        `control: { url: "file://${world.gitDir}" }`,
        `trust: { allowedSigners: ${signers} }`,
        'state: auditor-state',
      ];
      await writeFile(auditor(), lines.join('\n'));
      const { status, stdout, stderr } = await audit(['--config', auditor()]);
      assert.equal(status, 0, stderr);
      assert.match(stdout, /good\.zip/);
      assert.ok(existsSync(join(dirname(signers), 'auditor-state/control.git')));
    });

    it('audit-twice: another repository or list beside it', async () => {
      for (const more of [
        ['--repo', world.gitDir],
        ['--allowed-signers', signers],
      ]) {
        const { status, stderr } = await audit(['--config', auditor(), ...more]);
        assert.equal(status, 2);
        assert.match(stderr, /\[audit-twice\]/);
      }
    });
  });

  it('prints one JSON document in ASCII, with all that the table has and more', async () => {
    const { status, stdout } = await audit([...common(), '--json']);
    assert.equal(status, 0);
    assert.match(stdout, /^[\n -~]*$/);
    const document = JSON.parse(stdout) as {
      version: number;
      holds: boolean;
      problems: unknown[];
      rows: {
        outcome: string;
        receipt: string | null;
        author: string;
        files: { input: { name: string } }[];
      }[];
    };
    assert.deepEqual([document.version, document.holds, document.problems], [1, true, []]);
    assert.deepEqual(
      document.rows.map(({ outcome, files }) => [outcome, files[0]?.input.name]),
      [
        ['signed', 'good.zip'],
        ['rejected', 'refused.zip'],
        ['waiting', 'pending.zip'],
      ],
    );
    assert.equal(document.rows[0]?.receipt, receipt);
  });

  it('shows only the requested rows', async () => {
    const names = async (...more: string[]): Promise<string[]> => {
      const { stdout } = await audit([...common(), '--json', ...more]);
      const { rows } = JSON.parse(stdout) as { rows: { files: { input: { name: string } }[] }[] };
      return rows.flatMap(({ files }) => files.map(({ input }) => input.name));
    };
    assert.deepEqual(await names('--name', 'REF*'), ['refused.zip']);
    assert.deepEqual(await names('--outcome', 'signed'), ['good.zip']);
    assert.deepEqual(await names('--since', '2026-01-05T09:04Z'), ['refused.zip', 'pending.zip']);
  });

  it('writes a self-contained page', async () => {
    const page = join(world.folder, 'audit.html');
    const { status, stdout, stderr } = await audit([...common(), '--html', page]);
    assert.equal(status, 0);
    assert.match(stderr, /audit\.html: one page/);
    assert.match(stdout, /every signature and every link holds/);
    const html = await readFile(page, 'utf8');
    assert.match(html, /^<!doctype html>/);
    assert(html.includes(receipt));
    assert(!html.includes('\u001b'));
  });

  it('keeps a page up to date with --every, until SIGTERM', async () => {
    const page = join(world.folder, 'kept.html');
    const argv = [main, 'audit', ...common(), '--html', page, '--every', '10s'];
    const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(child, 'close');
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    assert.match(line.toString(), /kept\.html is written and kept up to date/);
    assert.match(await readFile(page, 'utf8'), /connect-src 'self'[^]*"every":10,/);
    child.kill('SIGTERM');
    assert.deepEqual(await ended, [0, null]);
    const left = (await readdir(world.folder)).filter((name) => name.endsWith('.part'));
    assert.deepEqual(left, []);
  });

  it('every-needs-page: what to keep up to date?', async () => {
    const { status, stderr } = await audit([...common(), '--every', '1m']);
    assert.equal(status, 2);
    assert.match(stderr, /\[every-needs-page\]\n.*--html OUT/);
    assert.equal((await audit([...common(), '--html', 'x.html', '--every', '1s'])).status, 2);
  });

  it('lists the signatures that a revocation would invalidate, and those that stay valid', async () => {
    const certificate = world.publisher.certificate.sha256;
    const colons = (certificate.toUpperCase().match(/../g) ?? []).join(':');
    const asked = ['--revoked-at', noon.toISOString(), '--certificate', colons];
    const { status, stdout } = await audit([...common(), ...asked]);
    assert.equal(status, 0);
    assert.match(
      stdout,
      /1 signature becomes invalid\n[^]*bin\/late\.exe[^]*1 signature stays valid by timestamp\n[^]*bin\/early\.exe/,
    );
    const { stdout: json } = await audit([...common(), ...asked, '--json']);
    const { revocation } = JSON.parse(json) as {
      revocation: { killed: { path: string }[]; surviving: { path: string }[] };
    };
    assert.deepEqual(
      [revocation.killed[0]?.path, revocation.surviving[0]?.path],
      ['bin/late.exe', 'bin/early.exe'],
    );
  });

  it('accepts a time and a certificate as the table prints them', async () => {
    const table = (await audit([...common()])).stdout;
    const digits = world.publisher.certificate.sha256.slice(0, 8);
    assert.ok(table.includes(digits), table);
    const minute = noon.toISOString().slice(0, 16).replace('T', ' ');
    for (const time of [minute, `${minute}Z`, `${minute} UTC`, `${minute}:00.000`]) {
      const { status, stdout } = await audit([...common(), '--revoked-at', time, '--certificate', digits]);
      assert.equal(status, 0);
      assert.ok(stdout.includes(`revoked as of ${noon.toISOString()}`), stdout);
      assert.match(stdout, /1 signature becomes invalid\n[^]*1 signature stays valid/);
    }
  });

  const refusals: readonly (readonly [code: string, args: readonly string[]])[] = [
    ['revocation-half', ['--revoked-at', '2026-01-01']],
    ['certificate-digest', ['--revoked-at', '2026-01-01', '--certificate', 'abc']],
    ['certificate-digest', ['--revoked-at', '2026-01-01', '--certificate', 'nothex']],
    ['certificate-unknown', ['--revoked-at', '2026-01-01', '--certificate', '0'.repeat(64)]],
    ['time-unreadable', ['--since', 'yesterday']],
    ['time-unreadable', ['--since', '2026-02-30']],
    ['time-unreadable', ['--since', '2026-01-01 25:00']],
    ['time-unreadable', ['--since', '2026-01-01  22:35']],
    ['control-no-branches', ['--requests', 'trunk', '--receipts', 'answers']],
    ['request-unknown', ['--after', 'abcdef0']],
    ['control-not-a-repository', ['--repo', '/nowhere']],
  ];
  for (const [code, args] of refusals)
    it(`${code}: ${args.join(' ').slice(0, 60)}`, async () => {
      const { status, stdout, stderr } = await audit([...common(), ...args]);
      assert.deepEqual([status, stdout], [2, '']);
      assert(stderr.includes(`[${code}]`), stderr);
    });

  it('control-not-one: another repository, though it has branches with these names', async () => {
    const other = join(world.folder, 'other.git');
    const git = (...argv: string[]): string =>
      execFileSync('git', ['-C', other, '-c', 'user.name=t', '-c', 'user.email=t@t', ...argv], { input: '' })
        .toString()
        .trim();
    execFileSync('git', ['init', '-q', '--bare', '-b', 'main', other]);
    const commit = git('commit-tree', '-m', 'first', git('mktree'));
    for (const branch of ['main', 'signed']) git('update-ref', `refs/heads/${branch}`, commit);
    const { status, stderr } = await audit(['--repo', other, ...common().slice(2)]);
    assert.equal(status, 2, stderr);
    assert.match(stderr, /is not a control repository.*\[control-not-one\]/);
  });

  it('allowed-signers-malformed: a list that cannot be parsed verifies nothing', async () => {
    const list = join(world.folder, 'broken_signers');
    await writeFile(list, 'builder@example.org ssh-ed25519 AAAA\n');
    const { status, stderr } = await audit(['--repo', world.gitDir, '--allowed-signers', list]);
    assert.equal(status, 2);
    assert.match(stderr, /broken_signers:1/);
  });
});
