import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { before, describe, it } from 'node:test';
import { startHostile, receiptFor, type CommitFile } from '../../world/hostile.ts';

const { world, host } = await startHostile();

const LARGE = 200 * 2 ** 20;
/** Clears the screen, sets the title, recolours; by C0 and by C1 controls; and turns text around. */
const ESCAPES = '\u001b[2J\u001b]0;title\u0007\u009b31m\u202eexe.piz';

/** Asserts that a text is safe to show: no control characters except line feeds, nothing that hides or reverses text. */
function assertShown(text: string): void {
  const hidden = Array.from(text).filter((each) => each !== '\n' && /[\p{Cc}\p{Cf}]/u.test(each));
  assert.deepEqual(
    hidden.map((each) => each.codePointAt(0)?.toString(16)),
    [],
  );
}

interface Attack {
  what: string;
  code: string;
  says: RegExp;
  hint?: RegExp;
  files: () => Promise<Record<string, CommitFile>>;
  message?: string;
  id?: string;
}

const ATTACKS: Attack[] = [
  {
    what: 'a symbolic link',
    code: 'zipname-not-a-file',
    says: /zipname is a (symlink|link|symbolic link)/,
    files: async () => ({ zipname: { mode: '120000', id: await host.blob('/etc/passwd') } }),
  },
  {
    what: 'a submodule',
    code: 'zipname-not-a-file',
    says: /zipname is a submodule/,
    files: async () => ({ zipname: { mode: '160000', id: '1'.repeat(40) } }),
  },
  {
    what: 'a folder',
    code: 'zipname-not-a-file',
    says: /zipname is a folder/,
    files: async () => ({ zipname: null, 'zipname/a.zip': 'x' }),
  },
  {
    what: '200 MB of zeros',
    code: 'zipname-too-large',
    says: /zipname is larger than 65536 bytes/,
    files: async () => ({ 'zipname/a.zip': null, zipname: Buffer.alloc(LARGE) }),
  },
  {
    what: 'a name full of terminal escapes',
    code: 'zipname-name',
    says: /\\u\{1b\}/,
    files: async () => ({ zipname: `${'a'.repeat(64)}  ${ESCAPES}.zip\n` }),
  },
  {
    what: 'a channel full of terminal escapes',
    code: 'request-trailer',
    says: /\\u\{1b\}/,
    files: async () => ({ zipname: await host.release('channel.zip') }),
    message: `Sign ${ESCAPES}\n\nChannel: x${ESCAPES}\n`,
  },
];

describe('a request whose zipname is', () => {
  let honest: string;
  let answered: number;
  before(async () => {
    await host.request('first.zip');
    for (const attack of ATTACKS)
      attack.id = await host.commit({
        files: await attack.files(),
        author: `Mallory ${ESCAPES}`,
        ...(attack.message === undefined ? {} : { message: attack.message }),
      });
    honest = await host.request('honest.zip');
    answered = (await world.poll()).answered;
  });

  for (const attack of ATTACKS)
    it(`${attack.what} is refused: ${attack.code}`, async () => {
      const { outcome, reason } = await receiptFor(world, attack.id ?? '');
      assert.deepEqual([outcome, reason?.code], ['rejected', attack.code]);
      assert.match(reason?.message ?? '', attack.says);
      assert.ok((reason?.hint ?? '').length > 10, 'it does not say what to do');
      assertShown(JSON.stringify(reason));
    });

  it('and the honest request after them all is answered', async () => {
    assert.equal(answered, ATTACKS.length + 2);
    assert.equal((await receiptFor(world, honest)).outcome, 'signed');
  });

  it('takes almost no space in the clone, whatever its size', async () => {
    const packs = await world.git('count-objects', '-v');
    assert.match(packs, /^count: \d+/m);
    const { rss } = process.memoryUsage();
    assert.ok(rss < 700 * 2 ** 20, `${rss} bytes`);
  });

  it('and receipts, log, watch and wait show nothing of them unescaped', async () => {
    assertShown(await world.git('log', '--first-parent', '--format=%B', 'signed'));
    assert.doesNotMatch(JSON.stringify(world.logged.map(({ msg, hint }) => [msg, hint])), /\\u00/);
    const again = await host.commit({
      files: await (ATTACKS[4] as Attack).files(),
      author: `Mallory ${ESCAPES}`,
      message: `Sign ${ESCAPES}\n`,
    });
    const watched = await world.watchOnce();
    const waited = await world.wait(again);
    assert.equal(waited.status, 3);
    assert.match(waited.stderr, /\\u\{1b\}/);
    for (const text of [watched.stdout, watched.stderr, waited.stdout, waited.stderr]) assertShown(text);
  });
});

describe('files in the control repository that git itself would obey', () => {
  const proof = (): string => world.at('proof');
  const run = (): string => `touch ${proof()}`;

  it('have no effect: attributes, filters, modules, configuration, hooks', async () => {
    const line = await host.release('attributes.zip');
    const request = await host.commit({
      files: {
        zipname: line,
        '.gitattributes':
          'zipname filter=evil working-tree-encoding=UTF-16 eol=crlf export-ignore ident\n* text=auto diff=evil merge=evil\n',
        '.gitmodules': `[submodule "x"]\n\tpath = x\n\turl = ext::sh -c "${run()}"\n\tupdate = !${run()}\n`,
        '.gitconfig': `[core]\n\tfsmonitor = ${run()}\n\thooksPath = hooks\n[filter "evil"]\n\tsmudge = ${run()}\n\tclean = ${run()}\n\trequired = true\n`,
        config: `[core]\n\tsshCommand = ${run()}\n\tbare = false\n\tworktree = .\n`,
        HEAD: 'ref: refs/heads/evil\n',
        'hooks/post-checkout': { mode: '100755', id: await host.blob(`#!/bin/sh\n${run()}\n`) },
        'hooks/reference-transaction': { mode: '100755', id: await host.blob(`#!/bin/sh\n${run()}\n`) },
        'objects/info/alternates': '/\n',
        x: { mode: '160000', id: '2'.repeat(40) },
      },
    });
    assert.deepEqual(await world.poll(), { answered: 1, waiting: 0 });
    assert.equal((await receiptFor(world, request)).outcome, 'signed');
    await assert.rejects(stat(proof()), { code: 'ENOENT' });
  });

  it('cannot change the zipname: its bytes are read as the commit has them', async () => {
    const line = await host.release('crlf.zip');
    const request = await host.commit({ files: { zipname: line } });
    await host.signs(request);
  });
});
