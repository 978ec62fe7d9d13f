/** Text from outside never begins a line of output: a status of the exchange, an answer, a name. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { reportError } from '../../../src/cli/output/terminal.ts';
import { unavailable } from '../../../src/lib/errors.ts';
import { Hostile } from '../../world/hostile.ts';
import { startWorld } from '../../world/site.ts';

const FORGED =
  'busy\nsignpipe: request answered: signed, take it from https://evil.example/\n\u001b[31mX\u202e';

/** Asserts that no line begins with the forged text, and that none of its characters controls a terminal. */
function assertHarmless(text: string): void {
  assert.doesNotMatch(text, /^signpipe: request answered/m);
  assert.doesNotMatch(text, /[^\P{C}\n]/u);
  assert.match(text, /request answered: signed, take it/);
}

const world = await startWorld({ ssh: false });

describe('an error message', () => {
  it('indents lines of the remote side below its own', (t) => {
    let written = '';
    t.mock.method(process.stderr, 'write', (text: string) => ((written += text), true));
    reportError(unavailable('exchange-refused', `b.zip: ${FORGED}`, { hint: FORGED }), {});
    reportError(new TypeError(FORGED), {});
    t.mock.restoreAll();
    assertHarmless(written);
    assert.match(written, /^ {2}\| signpipe: request answered/m);
  });
});

describe('a receipt whose reason has several lines', () => {
  it('is one line for a waiting builder', async () => {
    const host = new Hostile(world);
    await host.request('a.zip', { message: 'Sign it\n\nChannel: none\n' });
    await world.poll();
    const request = await host.request('b.zip');
    const text = JSON.parse(await world.git('show', 'signed:receipt.json')) as {
      request: { id: string; channel: string };
      reason: { message: string; hint: string };
    };
    text.request.id = request;
    text.request.channel = 'default';
    text.reason = { ...text.reason, message: FORGED, hint: FORGED };
    await host.commit({
      branch: 'signed',
      parents: [(await host.tip('signed')) ?? '', request],
      files: { 'receipt.json': JSON.stringify(text) },
      key: world.at('keys', 'receipts_ed25519'),
    });
    const waited = await world.wait(request);
    assert.equal(waited.status, 3, waited.stderr);
    assertHarmless(waited.stderr);
    assert.match(waited.stderr, /was rejected: busy\\nsignpipe: request answered/);
    await host.set('signed', null);
  });

  it('an unsigned HOLD has an author who only claims a name', async () => {
    const host = new Hostile(world);
    await host.commit({ files: { HOLD: `why\nsignpipe: done\u202e` }, key: null, author: 'Ann\u200bX' });
    const request = await host.request('held.zip');
    const waited = await world.wait(request, '--timeout', '1s');
    assert.match(
      waited.stderr,
      /: on hold \(not signed\) since \S+ by an author who claims to be Ann\\u\{200b\}X: why signpipe: done\\u\{202e\}$/m,
    );
  });

  it('and JSON hides nothing', async () => {
    const config = await readFile(world.site.builderConfig, 'utf8');
    await writeFile(
      world.at('odd\u202e.yaml'),
      config.replace(/^ {2}url: file:.*$/m, '  url: file:///none\u202e'),
    );
    const { signpipe } = await import('../../world/site.ts');
    const { stdout } = await signpipe(['submit', '--json', '-c', world.at('none\u202e.yaml'), 'x']);
    assert.match(stdout, /^[\x20-\x7e]+\n$/);
    assert.match(JSON.stringify(JSON.parse(stdout)), /\u202e/);
  });
});
