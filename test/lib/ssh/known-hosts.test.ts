import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { fingerprintOf } from '../../../src/lib/sshsig/ssh-key.ts';
import { KnownHosts, knownHostName } from '../../../src/lib/ssh/known-hosts.ts';
import { makeKey } from '../../world/sshd.ts';

const run = promisify(execFile);

let folder: string;
/** Public keys in the form of known_hosts: `type base64`. */
let keys: string[];

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-known-hosts-'));
  const lines = await Promise.all(
    (['ed25519', 'ecdsa', 'ed25519'] as const).map((type, index) => makeKey(join(folder, `k${index}`), type)),
  );
  keys = lines.map((line) => line.split(' ').slice(0, 2).join(' '));
});
after(() => rm(folder, { recursive: true, force: true }));

const key = (index: number): string => keys[index] ?? '';

/** `|1|salt|hash` of a name, as `ssh-keygen -H` writes it. */
function hashed(name: string): string {
  const salt = Buffer.alloc(20, name.length);
  return `|1|${salt.toString('base64')}|${createHmac('sha1', salt).update(name).digest('base64')}`;
}

/** The line numbers that match, without revocations and authorities. */
const pinnedLines = (text: string, host: string, port = 22): number[] =>
  KnownHosts.parse(text, 'known_hosts')
    .lookup(knownHostName(host, port))
    .pinned.map(({ line }) => line);

describe('known_hosts', () => {
  it('finds plain names, lists, wildcards and ports', () => {
    const text = [
      '# a comment',
      '',
      `build.example.org ${key(0)} a comment`,
      `a.example.org,b.example.org,192.0.2.7 ${key(1)}`,
      `*.wild.example.org ${key(0)}`,
      `[build.example.org]:2222 ${key(2)}`,
      `host? ${key(0)}`,
      `  \t indented.example.org   ${key(0)}\t`,
    ].join('\n');
    assert.deepEqual(pinnedLines(text, 'build.example.org'), [3]);
    assert.deepEqual(pinnedLines(text, 'b.example.org'), [4]);
    assert.deepEqual(pinnedLines(text, '192.0.2.7'), [4]);
    assert.deepEqual(pinnedLines(text, 'x.y.wild.example.org'), [5]);
    assert.deepEqual(pinnedLines(text, 'wild.example.org'), []);
    assert.deepEqual(pinnedLines(text, 'build.example.org', 2222), [6]);
    assert.deepEqual(pinnedLines(text, 'build.example.org', 2223), []);
    assert.deepEqual(pinnedLines(text, 'host1'), [7]);
    assert.deepEqual(pinnedLines(text, 'host12'), []);
    assert.deepEqual(pinnedLines(text, 'indented.example.org'), [8]);
  });

  it('keeps several keys of one host', () => {
    assert.deepEqual(pinnedLines(`h ${key(0)}\nh ${key(1)}\nother ${key(2)}\n`, 'h'), [1, 2]);
  });

  it('lets a negated pattern overrule the others of its line', () => {
    const text = `*.example.org,!evil.example.org ${key(0)}\n!evil.example.org,* ${key(1)}`;
    assert.deepEqual(pinnedLines(text, 'good.example.org'), [1, 2]);
    assert.deepEqual(pinnedLines(text, 'evil.example.org'), []);
    assert.deepEqual(pinnedLines('!only.negative.org ' + key(0), 'other.org'), []);
  });

  it('finds hashed names, with and without a port', () => {
    const text = `${hashed('h.example.org')} ${key(0)}\n${hashed('[h.example.org]:2222')} ${key(1)}`;
    assert.deepEqual(pinnedLines(text, 'h.example.org'), [1]);
    assert.deepEqual(pinnedLines(text, 'H.Example.Org', 2222), [2]);
    assert.deepEqual(pinnedLines(text, 'other.example.org'), []);
  });

  it('keeps revoked keys and authorities apart', () => {
    const text = `@revoked * ${key(0)}\n@cert-authority *.example.org ${key(1)}\nh.example.org ${key(2)}`;
    const hostKeys = KnownHosts.parse(text, 'known_hosts').lookup('h.example.org');
    const lines = Object.entries(hostKeys).map(([name, list]) => [
      name,
      list.map((k: { line: number }) => k.line),
    ]);
    assert.deepEqual(Object.fromEntries(lines), { pinned: [3], revoked: [1], authorities: [2] });
  });

  it('prints fingerprints as ssh-keygen does', async () => {
    const { stdout } = await run('ssh-keygen', ['-lf', join(folder, 'k0.pub')]);
    assert.equal(stdout.split(' ')[1], fingerprintOf(Buffer.from(key(0).split(' ')[1] ?? '', 'base64')));
  });

  it('matches a hostile pattern quickly', () => {
    const text = `${'*a'.repeat(500)}b ${key(0)}`;
    assert.deepEqual(pinnedLines(text, 'a'.repeat(250)), []);
  });

  it('agrees with ssh-keygen -F on every line and name', async () => {
    const names = [
      'h.example.org',
      '[h.example.org]:2222',
      'a.b.example.org',
      '192.0.2.7',
      '2001:db8::1',
      'hh',
      'x',
    ];
    const plain =
      'h.example.org H.EXAMPLE.org * *.example.org *.*.example.org h* ? ?? ??,x !x,* *,!h.example.org ' +
      '!h.example.org [h.example.org]:2222 [*]:2222 *:2222 [*]:* 192.0.2.* 2001:db8::1 ' +
      'h.example.org,192.0.2.7 x,,hh *h* ** h.example.or';
    const patterns = [...plain.split(' '), ...names.map(hashed)];
    const text = patterns.map((pattern, index) => `${pattern} ${key(index % 3)}\n`).join('');
    const path = join(folder, 'many');
    await writeFile(path, text);
    for (const name of names) {
      const { stdout } = await run('ssh-keygen', ['-F', name, '-f', path]).catch(() => ({ stdout: '' }));
      const theirs = [...stdout.matchAll(/found: line (\d+)/g)].map((match) => Number(match[1]));
      const ours = KnownHosts.parse(text, path)
        .lookup(name)
        .pinned.map(({ line }) => line);
      assert.deepEqual(ours, theirs, name);
    }
  });

  it('finds names that ssh-keygen -H hashed', async () => {
    const path = join(folder, 'to-hash');
    await writeFile(path, `h.example.org,192.0.2.7 ${key(0)}\n[h.example.org]:2222 ${key(1)}\n`);
    await run('ssh-keygen', ['-H', '-f', path]);
    const text = await readFile(path, 'utf8');
    assert(!text.includes('example.org'));
    assert.equal(pinnedLines(text, 'h.example.org').length, 1);
    assert.equal(pinnedLines(text, '192.0.2.7').length, 1);
    assert.equal(pinnedLines(text, 'h.example.org', 2222).length, 1);
  });

  const broken: readonly [string, () => string][] = [
    ['a line without a key', () => 'h.example.org ssh-ed25519'],
    ['an unknown marker', () => `@trusted h.example.org ${key(0)}`],
    [
      'a key of a different type than the line says',
      () => `h.example.org ${key(0).replace('ssh-ed25519', 'ssh-rsa')}`,
    ],
    ['a key that is not base64', () => `h.example.org ${key(0).slice(0, -3)}#!=`],
    ['a damaged revocation', () => `@revoked * ${key(0).slice(0, 20)}`],
    ['a damaged hashed name', () => `|1|abc|def ${key(0)}`],
  ];
  for (const [what, line] of broken)
    it(`known-hosts-invalid: ${what}`, () => {
      assert.throws(() => KnownHosts.parse(`# first\n${line()}\n`, 'known_hosts'), {
        code: 'known-hosts-invalid',
        kind: 'usage',
        message: /^known_hosts:2: /,
      });
    });

  it('known-hosts-missing: no such file', async () => {
    const missing = KnownHosts.load(join(folder, 'nowhere'));
    await assert.rejects(missing, { code: 'known-hosts-missing', kind: 'usage' });
  });
});
