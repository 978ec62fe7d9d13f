import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { AllowedSigners } from '../../../src/lib/sshsig/allowed-signers.ts';
import { parsePublicKeyLine } from '../../../src/lib/sshsig/ssh-key.ts';

const run = promisify(execFile);

let folder: string;
/** Public key lines. */
const keys: string[] = [];
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-persons-'));
  for (let i = 0; i < 5; i += 1) {
    const path = join(folder, `${i}`);
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', path]);
    keys.push((await readFile(`${path}.pub`, 'utf8')).trim());
  }
});
after(() => rm(folder, { recursive: true }));

const keyOf = (i: number): { fingerprint: string } => parsePublicKeyLine(keys[i] ?? '', 'a key');

/** Groups the keys by person under an allowed signers list, in which `#N` is replaced with the Nth key. */
function groups(lines: readonly string[], certified: Record<number, string[]> = {}): number[][] {
  const text = lines.map((line) => line.replace(/#(\d)/, (_, i: string) => keys[Number(i)] ?? '')).join('\n');
  const persons = AllowedSigners.parse(text, 'allowed_signers').persons();
  for (const [i, names] of Object.entries(certified))
    persons.add({ fingerprint: keyOf(Number(i)).fingerprint, names });
  const byPerson = new Map<string, number[]>();
  const used = [0, 1, 2, 3, 4].filter((i) => text.includes(keys[i] ?? '') || i in certified);
  for (const i of used)
    byPerson.set(persons.personId(keyOf(i)), [...(byPerson.get(persons.personId(keyOf(i))) ?? []), i]);
  return [...byPerson.values()].toSorted(([a = 0], [b = 0]) => a - b);
}

describe('which keys belong to one person', () => {
  for (const [what, lines, expected] of [
    ['each key with a name of its own', ['ann #0', 'bob #1'], [[0], [1]]],
    ['two keys under one name', ['bob #0', 'bob #1'], [[0, 1]]],
    ['one key under two names', ['bob@work #0', 'bob@home #0', 'bob@home #1'], [[0, 1]]],
    ['two names on one line', ['bob@work,bob@home #0', 'bob@home #1'], [[0, 1]]],
    ['names that a third line joins, in any order', ['a #0', 'b #1', 'a,b #2'], [[0, 1, 2]]],
    ['a chain of names', ['a,b #0', 'c,d #1', 'd,e #2', 'b,c #3'], [[0, 1, 2, 3]]],
    [
      'names that only expired lines join',
      ['a valid-before="20010101" #2', 'a,b valid-after="20990101" #2', 'a #0', 'b #1'],
      [[0, 1, 2]],
    ],
    [
      'names that a line for another namespace joins',
      ['a,b namespaces="file" #2', 'a #0', 'b #1'],
      [[0, 1, 2]],
    ],
    ['a wildcard, whose key may sign under each name', ['*@x #0', 'ann@x #1', 'bob@y #2'], [[0, 1], [2]]],
    [
      'a wildcard, except the names that it excludes',
      ['*@x,!ann@x #0', 'ann@x #1', 'bob@x #2'],
      [[0, 2], [1]],
    ],
    [
      'not the names that an authority may certify',
      ['* cert-authority #2', 'ann #0', 'bob #1'],
      [[0], [1], [2]],
    ],
  ] as const)
    it(what, () => assert.deepEqual(groups(lines), expected));

  it('certificates that share a name, and one whose name is on a line', () => {
    const authority = '* cert-authority #4';
    assert.deepEqual(groups([authority], { 0: ['bob'], 1: ['bob'], 2: ['ann'] }), [[0, 1], [2], [4]]);
    assert.deepEqual(groups([authority, 'robert #1'], { 0: ['bob', 'robert'] }), [[0, 1], [4]]);
    assert.deepEqual(groups([authority, 'bo* #1'], { 0: ['bob'] }), [[0, 1], [4]]);
  });

  it('takes less than 5 s for 20,000 lines', () => {
    const lines = Array.from({ length: 19_999 }, (_, i) => `n${i},n${i + 1} #0`);
    const started = performance.now();
    assert.deepEqual(groups([...lines, 'n0 #1']), [[0, 1]]);
    assert.ok(performance.now() - started < 5000);
  });
});
