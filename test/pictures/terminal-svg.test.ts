import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StableText } from './stable-text.ts';
import { terminalSvg } from './terminal-svg.ts';

const draw = (text: string, columns = 20): string => terminalSvg(text, { columns, title: 'A "picture"' });

describe('a picture of a terminal', () => {
  it('shows text as text, never as markup', () => {
    const svg = draw('a <b> & "c"');
    assert.match(svg, />a\u00a0&lt;b&gt;\u00a0&amp;\u00a0&quot;c&quot;<\/text>/);
    assert.match(svg, /<title id="title">A &quot;picture&quot;<\/title>/);
  });

  it('keeps colours and bold type', () => {
    const svg = draw('one \u001b[1m\u001b[32mtwo\u001b[0m three');
    assert.match(svg, /fill="#6fc492" font-weight="700">two</);
    assert.match(svg, /x="74" [^>]*">\u00a0three</);
  });

  it('breaks lines like a terminal', () => {
    assert.match(draw('x'.repeat(25)), /y="46" textLength="160">x{20}<[^]*y="65" textLength="40">x{5}</);
  });
});

describe('the text of pictures', () => {
  it('is the same for each run: ids, times and folders are replaced, and match each other', () => {
    const run = (id: string, folder: string, time: string): string =>
      new StableText(new Map([[folder, 'demo']])).replace(
        `request ${id}\nanswered ${id.slice(0, 12)} ${time} in ${folder}/x  (1.2 s)`,
      );
    const first = run('a7b32e9682666d15250c88e24fc6f5d50a5b6da6', '/tmp/a', '2026-11-30 07:35');
    assert.equal(first, run('18869ae5d33b6d15250c88e24fc6f5d50a5b6da6', '/tmp/b', '2026-12-24 18:00'));
    const [, id = '', short] = /request (\w{40})\nanswered (\w{12}) /.exec(first) ?? [];
    assert.equal(id.slice(0, 12), short);
  });
});
