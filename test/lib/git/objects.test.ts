import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  objectId,
  parseCommit,
  parseTree,
  serializeCommit,
  serializeTree,
} from '../../../src/lib/git/objects.ts';
import { buildPack } from '../../../src/lib/git/packfile.ts';
import { printable } from '../../../src/lib/printable.ts';
import { formatTrailers, parseTrailers, trailerValues } from '../../../src/lib/git/trailers.ts';
import { git, out, TestControl } from '../../protocol/control/repositories.ts';

let world: TestControl;
before(async () => {
  world = await TestControl.create();
});
after(() => world.close());

const rawObject = (type: string, id: string): Buffer =>
  execFileSync('git', ['cat-file', type, id], { cwd: world.work });

describe('a commit', () => {
  it('reads as git wrote it', async () => {
    const first = await world.commit('First\n\nBody.\n', { a: '1' });
    const id = await world.commit(
      'Second\n',
      { a: '2' },
      { env: { GIT_COMMITTER_DATE: '2026-01-02T03:04:05+0500' } },
    );
    const raw = rawObject('commit', id);
    const commit = parseCommit(raw);
    assert.equal(commit.id, id);
    assert.deepEqual(commit.parents, [first]);
    assert.equal(commit.tree, await world.git('rev-parse', 'HEAD^{tree}'));
    assert.deepEqual(commit.committer, {
      name: 'Build Master',
      email: 'builder@example.org',
      at: new Date('2026-01-01T22:04:05Z'),
    });
    assert.equal(commit.message, 'Second\n');
  });

  it('reads names with escape sequences unchanged, for printable to escape', async () => {
    const env = { GIT_AUTHOR_NAME: 'Eve \u001b]0;owned\u0007\u202ex' };
    const commit = parseCommit(rawObject('commit', await world.commit('x\n', {}, { env })));
    assert.equal(commit.author.name, env.GIT_AUTHOR_NAME);
    assert.equal(printable(commit.author.name), 'Eve \\u{1b}]0;owned\\u{7}\\u{202e}x');
  });

  it('reads a message in another encoding, and one that is not text', async () => {
    const latin = Buffer.from('Gr\xfc\xdfe\n', 'latin1');
    const messageFile = join(world.folder, 'latin');
    await writeFile(messageFile, latin);
    await git(world.work, [
      '-c',
      'i18n.commitEncoding=ISO-8859-1',
      'commit',
      '-q',
      '--allow-empty',
      '-F',
      messageFile,
    ]);
    assert.equal(parseCommit(rawObject('commit', 'HEAD')).message, 'Grüße\n');
    await git(world.work, [
      '-c',
      'i18n.commitEncoding=no-such',
      'commit',
      '-q',
      '--allow-empty',
      '-F',
      messageFile,
    ]);
    assert.equal(parseCommit(rawObject('commit', 'HEAD')).message, 'Gr\uFFFD\uFFFDe\n');
  });

  it('is written as git hash-object accepts it, and is read back', async () => {
    const tree = await world.git('rev-parse', 'HEAD^{tree}');
    const raw = serializeCommit({
      tree,
      parents: [await world.git('rev-parse', 'HEAD')],
      identity: { name: 'Ö <x>\n', email: 'a@b>' },
      at: new Date('2026-03-04T05:06:07.890Z'),
      message: 'Hello\0\n\n\n',
    });
    const file = join(world.folder, 'commit');
    await writeFile(file, raw);
    assert.equal(await out(world.work, 'hash-object', '-t', 'commit', '-w', file), objectId('commit', raw));
    const commit = parseCommit(raw);
    assert.deepEqual(commit.author, { name: 'Ö x', email: 'a@b', at: new Date('2026-03-04T05:06:07Z') });
    assert.equal(commit.message, 'Hello\n');
  });

  const tree = 'a'.repeat(40);
  const who = 'N <e> 1 +0000';
  for (const [what, raw] of Object.entries({
    'no blank line': `tree ${tree}\nauthor ${who}\ncommitter ${who}\n`,
    'no tree': `author ${who}\ncommitter ${who}\n\n`,
    'a tree that is no id': `tree ${tree.slice(1)}\nauthor ${who}\ncommitter ${who}\n\n`,
    'a parent that is no id': `tree ${tree}\nparent --all\nauthor ${who}\ncommitter ${who}\n\n`,
    'two trees': `tree ${tree}\nauthor ${who}\ncommitter ${who}\ntree ${tree}\n\n`,
    'a parent after the author': `tree ${tree}\nauthor ${who}\nparent ${tree}\ncommitter ${who}\n\n`,
    'two committers': `tree ${tree}\nauthor ${who}\ncommitter ${who}\ncommitter ${who}\n\n`,
    'a person without a time': `tree ${tree}\nauthor N <e>\ncommitter ${who}\n\n`,
    'a time out of range': `tree ${tree}\nauthor N <e> 999999999999999 +0000\ncommitter ${who}\n\n`,
    'a continuation first': ` x\ntree ${tree}\nauthor ${who}\ncommitter ${who}\n\n`,
    'too many parents': `tree ${tree}\n${`parent ${tree}\n`.repeat(65)}author ${who}\ncommitter ${who}\n\n`,
  }))
    it(`commit-malformed: ${what}`, () => {
      assert.throws(() => parseCommit(Buffer.from(raw)), { code: 'commit-malformed', kind: 'invalid' });
    });
});

describe('a tree', () => {
  it('is read and written as by git, whatever it contains', async () => {
    await world.commit('tree\n', { 'a.b/x': '1', a: '2', 'a-b': '3', a0: '4', 'ü/ÿ': '5' });
    const id = await world.git('rev-parse', 'HEAD^{tree}');
    const raw = rawObject('tree', id);
    const entries = parseTree(raw);
    assert.deepEqual(
      entries.map(({ name, kind }) => [name, kind]),
      [
        ['a', 'file'],
        ['a-b', 'file'],
        ['a.b', 'tree'],
        ['a0', 'file'],
        ['ü', 'tree'],
      ],
    );
    const shuffled = [...entries].reverse().map(({ mode, exact, id }) => ({ mode, name: exact, id }));
    assert.equal(objectId('tree', serializeTree(shuffled)), id);
  });

  it('sorts folders like git', async () => {
    const blob = objectId('blob', Buffer.from('x'));
    const folder = serializeTree([{ mode: '100644', name: 'x', id: blob }]);
    const top = serializeTree([
      { mode: '40000', name: 'foo', id: objectId('tree', folder) },
      { mode: '100644', name: 'foo.txt', id: blob },
      { mode: '100644', name: 'foo0', id: blob },
    ]);
    const repository = await world.repository();
    await repository.writeObjects([
      { type: 'blob', content: Buffer.from('x') },
      { type: 'tree', content: folder },
      { type: 'tree', content: top },
    ]);
    assert.match(await out(repository.path, 'fsck', '--strict', '--no-dangling'), /^$/);
    assert.match(
      await out(repository.path, 'ls-tree', '--name-only', objectId('tree', top)),
      /^foo.txt\nfoo\nfoo0$/,
    );
  });

  const id = Buffer.alloc(20, 1);
  const entry = (text: string): Buffer => Buffer.concat([Buffer.from(`${text}\0`), id]);
  for (const [what, raw] of Object.entries({
    'cut short': entry('100644 a').subarray(0, 20),
    'no name': entry('100644 '),
    'a name with a slash': entry('100644 a/b'),
    'a name twice': Buffer.concat([entry('100644 a'), entry('40000 a')]),
    'no mode': entry(' a'),
    'a mode that is none': entry('10064x a'),
  }))
    it(`tree-malformed: ${what}`, () => {
      assert.throws(() => parseTree(raw), { code: 'tree-malformed', kind: 'invalid' });
    });
});

describe('a pack', () => {
  it('holds objects of all sizes, each once', async () => {
    const contents = [0, 1, 15, 16, 2047, 2048, 300_000].map((size) => Buffer.alloc(size, 'ab'));
    const objects = [...contents, Buffer.alloc(16, 'ab')].map((content) => ({
      type: 'blob' as const,
      content,
    }));
    const repository = await world.repository({ clone: 'packs' });
    await repository.writeObjects(objects);
    assert.equal(buildPack(objects).readUInt32BE(8), contents.length);
    for (const content of contents)
      assert.deepEqual(await repository.readObject(objectId('blob', content), 'blob', 1_000_000), content);
  });
});

describe('trailers', () => {
  const messages: Record<string, string> = {
    none: 'Sign it\n\nNo trailers here.\n',
    'a subject alone': 'Channel: release\n',
    'a first paragraph': 'Channel: release\nSource-Revision: 1\n',
    two: 'Sign it\n\nSource-Revision: v2.81-12-gabc\nChannel: release\n',
    'after a body': 'Sign it\n\nBody: with a colon, yet\nplain text.\n\nChannel: release\n\n\n',
    'only in the last paragraph': 'Sign it\n\nChannel: evil\n\nSource-Revision: 1\n',
    'with other lines': 'Sign it\n\nsome text\nChannel: release\n',
    'with other lines, signed off': 'Sign it\n\nsome text\nChannel: release\nSigned-off-by: A <a@b>\n',
    folded: 'Sign it\n\nSource-Revision: one\n  two\n\tthree\nChannel: x\n',
    'spaces before the colon': 'Sign it\n\nChannel : release\n',
    repeated: 'Sign it\n\nChannel: a\nchannel: b\n',
    'an empty value': 'Sign it\n\nChannel:\n',
    'a key with a space': 'Sign it\n\nMy Channel: a\n',
    'a comment': 'Sign it\n\nChannel: a\n# no: comment\n',
    'a divider': 'Sign it\n\nChannel: a\n---\nChannel: b\n',
    'no line end': 'Sign it\n\nChannel: a',
    'blank with spaces': 'Sign it\n  \nChannel: a\n',
  };
  for (const [what, message] of Object.entries(messages))
    it(`are found as git interpret-trailers finds them: ${what}`, () => {
      const theirs = execFileSync('git', ['interpret-trailers', '--parse', '--no-divider'], {
        input: message,
      });
      const ours = parseTrailers(message).map(({ key, value }) => `${key}: ${value}\n`);
      assert.equal(ours.join(''), theirs.toString());
    });

  it('are looked up without regard to case', () => {
    assert.deepEqual(trailerValues(parseTrailers('x\n\nChannel: a\nCHANNEL: b\n'), 'channel'), ['a', 'b']);
  });

  it('that we write cannot start another', () => {
    const text = formatTrailers([{ key: 'Reason', value: 'bad name: a\nOutcome: signed' }]);
    assert.deepEqual(parseTrailers(`x\n\n${text}`), [
      { key: 'Reason', value: 'bad name: a\\nOutcome: signed' },
    ]);
  });
});
