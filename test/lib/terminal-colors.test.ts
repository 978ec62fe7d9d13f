import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { painter, wantsColour } from '../../src/lib/terminal-colors.ts';
import { buildPe } from '../fixtures/pe.ts';
import { onTerminal } from '../terminal.ts';

const main = join(import.meta.dirname, '../../dist/main.js');

describe('whether colour is wanted', () => {
  const cases: [isTTY: boolean | undefined, env: NodeJS.ProcessEnv, wanted: boolean][] = [
    [true, {}, true],
    [false, {}, false],
    [undefined, {}, false],
    [true, { NO_COLOR: '1' }, false],
    [true, { NO_COLOR: '' }, true],
    [true, { TERM: 'dumb' }, false],
    [false, { FORCE_COLOR: '1' }, true],
    [undefined, { FORCE_COLOR: 'true', NO_COLOR: '1' }, true],
    [true, { FORCE_COLOR: '0' }, false],
    [true, { FORCE_COLOR: 'false' }, false],
    [true, { FORCE_COLOR: '', NO_COLOR: '1' }, false],
  ];
  for (const [isTTY, env, wanted] of cases)
    it(`${wanted ? 'yes' : 'no'}: a terminal ${isTTY ?? 'undefined'}, ${JSON.stringify(env)}`, () => {
      assert.equal(wantsColour(isTTY === undefined ? {} : { isTTY }, env), wanted);
    });

  it('changes only the colour', () => {
    for (const style of ['good', 'bad', 'warning', 'waiting', 'alarm', 'dim'] as const) {
      const painted = painter(true)('text', style);
      assert.notEqual(painted, 'text');
      assert.equal(stripVTControlCharacters(painted), 'text');
      assert.equal(painter(false)('text', style), 'text');
    }
  });
});

describe('the commands', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signpipe-paint-'));
    await writeFile(join(folder, 'a.exe'), buildPe());
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const { NO_COLOR: _no, FORCE_COLOR: _force, ...plain } = process.env;
  const piped = (env: NodeJS.ProcessEnv, ...args: string[]): string => {
    const { stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
      cwd: folder,
      env: { ...plain, ...env },
      encoding: 'utf8',
    });
    return stdout + stderr;
  };
  const onScreen = async (env: string, ...args: string[]): Promise<string> => {
    const command = [
      '/usr/bin/env',
      '-u',
      'NO_COLOR',
      '-u',
      'FORCE_COLOR',
      'TERM=xterm',
      ...env.split(' ').filter(Boolean),
    ];
    return (await onTerminal([...command, process.execPath, main, ...args], { cwd: folder })).text;
  };
  const COLOUR = '\u001b[';

  it('colour verdicts and errors on a terminal, unless NO_COLOR is set', async () => {
    for (const file of ['a.exe', 'none.exe']) {
      assert.ok((await onScreen('', 'verify', file)).includes(COLOUR), file);
      assert.ok(!(await onScreen('NO_COLOR=1', 'verify', file)).includes(COLOUR), file);
    }
  });

  it('colour nothing in pipes, unless FORCE_COLOR is set', () => {
    for (const file of ['a.exe', 'none.exe']) {
      assert.ok(!piped({}, 'verify', file).includes(COLOUR), file);
      assert.ok(piped({ FORCE_COLOR: '1' }, 'verify', file).includes(COLOUR), file);
    }
  });

  it('never colour JSON', async () => {
    for (const args of [
      ['verify', 'a.exe', '--json'],
      ['verify', 'none.exe', '--json'],
      ['verify', '--json'],
    ]) {
      const [json = ''] = piped({ FORCE_COLOR: '1' }, ...args).split('\n');
      assert.ok(!json.includes(COLOUR));
      JSON.parse(json);
      const [shown = ''] = (await onScreen('', ...args)).split('\n');
      JSON.parse(shown);
    }
  });
});
