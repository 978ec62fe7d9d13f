/** What pipeline/observe ships: the metrics that its rules and its dashboard name, and the programs for notify.command. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pipeline } from './site.ts';

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-observe-'));
});
after(() => rm(folder, { recursive: true, force: true }));

const read = (name: string): Promise<string> => readFile(pipeline(`observe/${name}`), 'utf8');

/** The names of the metrics that the signer writes. */
async function written(): Promise<Set<string>> {
  const source = join(import.meta.dirname, '../../src/app/signer/reporting/metrics.ts');
  const names = (await readFile(source, 'utf8')).matchAll(/(?:gauge|counter)\(\s*'([a-z_]+)'/g);
  return new Set([...names].map(([, name = '']) => `signpipe_${name}`));
}

const named = (text: string): Set<string> =>
  new Set(
    [...text.matchAll(/\bsignpipe_[a-z_]+/g)].map(([name]) => name.replace(/_(?:bucket|sum|count)$/, '')),
  );

describe('rules, dashboard and README', () => {
  for (const name of ['signpipe.rules.yml', 'signpipe.rules.test.yml', 'dashboard.json'])
    it(`${name} names only metrics that exist`, async () => {
      const metrics = await written();
      const unknown = [...named(await read(name))].filter((each) => !metrics.has(each));
      assert.deepEqual(unknown, []);
    });

  it('the README explains every metric, and no other', async () => {
    const rows = (await read('README.md')).split('\n').filter((line) => line.startsWith('| `signpipe_'));
    assert.deepEqual([...named(rows.join('\n'))].toSorted(), [...(await written())].toSorted());
  });

  it('the dashboard can be provisioned: its data source is a variable, its panels have ids of their own', async () => {
    const { panels, templating } = JSON.parse(await read('dashboard.json')) as {
      panels: { id: number; type: string; datasource?: { uid: string } }[];
      templating: { list: { name: string }[] };
    };
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    const charts = panels.filter(({ type }) => type !== 'row');
    assert.ok(charts.every(({ datasource }) => datasource?.uid === '${datasource}'));
    assert.deepEqual(
      templating.list.map(({ name }) => name),
      ['datasource', 'instance'],
    );
  });
});

/** Runs a shipped program as the signer does. */
async function notify(
  name: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ status: number | null; stderr: string }> {
  const child = spawn(pipeline(`observe/${name}`), [...args], {
    env: { PATH: process.env['PATH'], SIGNPIPE_TITLE: 'request failed', SIGNPIPE_TEXT: 'why: é', ...env },
  });
  let stderr = '';
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  child.stdin.on('error', () => {});
  child.stdin.end('{"version":1,"event":"failed"}\n');
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, stderr };
}

describe('notify-webhook', () => {
  /** Posts to a server that answers with a status; returns what it got. */
  async function post(answer: number): Promise<{ status: number | null; bodies: string[]; types: string[] }> {
    const bodies: string[] = [];
    const types: string[] = [];
    const server = createServer((request, response) => {
      let body = '';
      request.on('data', (data: Buffer) => (body += data.toString()));
      request.on('end', () => {
        bodies.push(body);
        types.push(request.headers['content-type'] ?? '');
        response.writeHead(answer).end();
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const config = join(folder, 'webhook');
    const { port } = server.address() as AddressInfo;
    await writeFile(config, `url = "http://127.0.0.1:${port}/hook"\n`);
    const { status } = await notify('notify-webhook', [config]);
    server.close();
    return { status, bodies, types };
  }

  it('posts the JSON as it is', async () => {
    const { status, bodies, types } = await post(200);
    assert.equal(status, 0);
    assert.deepEqual(bodies, ['{"version":1,"event":"failed"}\n']);
    assert.deepEqual(types, ['application/json']);
  });

  it('fails if the page refuses it, or without its file', async () => {
    assert.notEqual((await post(403)).status, 0);
    const { status, stderr } = await notify('notify-webhook', [join(folder, 'none')]);
    assert.equal(status, 2);
    assert.match(stderr, /usage/);
  });
});

describe('notify-mail', () => {
  const mailed = (): Promise<string> => readFile(join(folder, 'mail'), 'utf8');

  /** The environment with a program in place of sendmail that keeps what it gets. */
  async function sendmail(status = 0): Promise<Record<string, string>> {
    const path = join(folder, 'sendmail');
    const mail = join(folder, 'mail');
    await writeFile(path, `#!/bin/sh\n{ echo "$*"; cat; } > '${mail}'\nexit ${status}\n`);
    await chmod(path, 0o755);
    return { SENDMAIL: path };
  }

  it('sends title, text and JSON to every address', async () => {
    const { status } = await notify('notify-mail', ['a@example.org', 'b@example.org'], await sendmail());
    assert.equal(status, 0);
    const [args, ...lines] = (await mailed()).split('\n');
    assert.equal(args, '-i a@example.org b@example.org');
    assert.deepEqual(lines.slice(0, 2), [
      'To: a@example.org, b@example.org',
      'Subject: [signpipe] request failed',
    ]);
    assert.equal(lines.slice(lines.indexOf('')).join('\n'), '\nwhy: é\n\n{"version":1,"event":"failed"}\n');
  });

  it('takes no header from a title', async () => {
    await notify('notify-mail', ['a@example.org'], {
      ...(await sendmail()),
      SIGNPIPE_TITLE: 'x\nBcc: all@example.org\r\n\r\nbody é',
    });
    const mail = await mailed();
    assert.ok(!/^Bcc:/m.test(mail));
    assert.match(mail, /^Subject: \[signpipe\] x Bcc: all@example\.org\?[ ?]*body \?\?$/m);
  });

  it('refuses options in place of addresses, and fails if sendmail does', async () => {
    assert.equal((await notify('notify-mail', ['-bs'], await sendmail())).status, 2);
    assert.equal((await notify('notify-mail', ['a b@example.org'], await sendmail())).status, 2);
    assert.equal((await notify('notify-mail', ['a@example.org'], await sendmail(75))).status, 75);
  });
});

describe('notify-status', () => {
  /** Runs it with a `signpipe status` that ends with this status; returns the events that were notified so far. */
  async function look(status: number, program = 'cat >> events'): Promise<string[]> {
    const signpipe = join(folder, 'signpipe');
    await writeFile(signpipe, `#!/bin/sh\nexit ${status}\n`);
    await chmod(signpipe, 0o755);
    const args = [join(folder, 'last'), 'auditor.yaml', 'sh', '-c', `cd '${folder}' && ${program}`];
    await notify('notify-status', args, { SIGNPIPE: signpipe });
    const events = await readFile(join(folder, 'events'), 'utf8').catch(() => '');
    return events
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => (JSON.parse(line) as { event: string }).event);
  }

  it('notifies once when signers fall silent, raise an alarm, and are well again', async () => {
    assert.deepEqual(await look(0), []);
    assert.deepEqual(await look(1, 'false'), [], 'the program failed');
    assert.deepEqual(await look(1), ['silent']);
    assert.deepEqual(await look(1), ['silent']);
    await look(3);
    await look(2);
    assert.deepEqual(await look(0), ['silent', 'alarm', 'unknown', 'well']);
  });
});
