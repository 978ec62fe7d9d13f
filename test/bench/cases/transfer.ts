import { spawn } from 'node:child_process';
import { createCipheriv, randomBytes } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { interleaved, measure, root, sha256Of, type Result, type Sample, type Way } from '../measure.ts';
import type { Place } from '../place.ts';
import { megabytes, timesAsFast, type Group, type Target } from '../report.ts';
import type { BenchOptions } from '../run.ts';
import type { TransferInput } from '../transfer-child.ts';
import { compiled } from '../../compiled.ts';

async function randomFile(path: string, size: number): Promise<void> {
  const cipher = createCipheriv('aes-128-ctr', randomBytes(16), randomBytes(16));
  const file = await open(path, 'w');
  const zeros = Buffer.alloc(4 << 20);
  for (let at = 0; at < size; at += zeros.length)
    await file.write(cipher.update(zeros.subarray(0, Math.min(zeros.length, size - at))));
  await file.close();
}

/** The compiled child; it is inside the project, so that it finds its packages. */
const childPath = (): Promise<string> =>
  compiled(join(import.meta.dirname, '../transfer-child.ts'), join(root, 'bench-work/compiled'));

async function throughExchange(input: TransferInput): Promise<Sample> {
  const child = spawn(process.execPath, [await childPath()], {
    cwd: root,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.end(JSON.stringify(input));
  return JSON.parse(await text(child.stdout)) as Sample;
}

/** Both directions, through a proxy that cuts the connection once; the proxy counts the bytes. */
async function resumed(place: Place, input: TransferInput, local: string, back: string): Promise<Group> {
  const cutAt = Math.max(input.size / 5, 40e6);
  const cut = (direction: 'deliver' | 'fetch'): Promise<Sample> =>
    place.through({}, async (network) => {
      network.cutAfter(cutAt);
      const url = input.url.replace(`:${place.world.sshd.port}`, `:${network.port}`);
      const remote = direction === 'deliver' ? 'incoming/resumed.bin' : input.remote;
      const file = direction === 'deliver' ? local : back;
      const sample = await throughExchange({ ...input, url, remote, direction, local: file });
      return { ...sample, sent: network.passed.there, received: network.passed.back };
    });
  await rm(back, { force: true });
  const results = [
    { name: 'our exchange, delivering', ours: true, samples: [await cut('deliver')] },
    { name: 'our exchange, fetching', ours: true, samples: [await cut('fetch')] },
  ];
  const whole = megabytes(input.size);
  return {
    title: `${whole}, the connection cut after ${megabytes(cutAt)}`,
    results,
    notes: [],
    targets: results.map(({ name, samples: [sample] }) => ({
      what: name,
      target: `${whole} arrive, and nothing that arrived is sent again`,
      measured: `${megabytes((sample?.sent ?? NaN) + (sample?.received ?? NaN))} transferred in all`,
    })),
  };
}

const OURS = 'our exchange';
const MOVED = 'our exchange, until every byte is moved';

/** Adds a result for the part that scp also does; scp neither flushes nor verifies. */
const withMoved = (results: readonly Result[]): Result[] =>
  results.flatMap((result) => {
    if (result.name !== OURS) return [result];
    const samples = result.samples.map(({ stages = {} }) => ({
      wall: (stages['connect'] ?? NaN) + (stages['moved'] ?? NaN),
    }));
    return [result, { name: MOVED, ours: true, samples }];
  });

/** A large file in both directions, compared with scp alone and scp followed by the same checks. */
export async function transfer(place: Place, options: BenchOptions): Promise<Group[]> {
  const { world, sshConfig } = place;
  const size = (options.full ? 500 : 100) * 1_000_000;
  const [local, back, remote] = [
    world.at('out.bin'),
    world.at('back.bin'),
    world.exchange('incoming', 'out.bin'),
  ];
  await randomFile(local, size);
  const sha256 = await sha256Of(local);
  const { clientKey: identity, knownHosts } = world.sshd;
  const url = world.sshd.url(world.exchange());
  const common = { url, identity, knownHosts, remote: 'incoming/out.bin', size, sha256 };
  const shell = (script: string) => async (): Promise<Sample> => {
    const { wall, cpu, rss } = await measure(['bash', '-ec', script]);
    return { wall, cpu, rss };
  };
  const scp = `scp -q -F ${sshConfig}`;
  const there = `ssh -F ${sshConfig} far sha256sum ${remote}.scp > /dev/null`;
  const deliver: Way[] = [
    {
      name: OURS,
      ours: true,
      run: () => throughExchange({ ...common, direction: 'deliver', local }),
    },
    { name: 'scp', ours: false, run: shell(`${scp} ${local} far:${remote}.scp`) },
    {
      name: 'scp, then sha256sum here and there',
      ours: false,
      run: shell(`${scp} ${local} far:${remote}.scp; sha256sum ${local} > /dev/null; ${there}`),
    },
  ];
  const fetch: Way[] = [
    {
      name: OURS,
      ours: true,
      run: async () => {
        await rm(back, { force: true });
        return throughExchange({ ...common, direction: 'fetch', local: back });
      },
    },
    { name: 'scp', ours: false, run: shell(`rm -f ${back}; ${scp} far:${remote} ${back}`) },
    {
      name: 'scp, then sha256sum',
      ours: false,
      run: shell(`rm -f ${back}; ${scp} far:${remote} ${back}; sha256sum ${back} > /dev/null`),
    },
  ];
  const title = (what: string): string => `${what} ${size / 1e6} MB`;
  const asFast = (results: readonly Result[]): Target[] =>
    [OURS, MOVED].map((ours) => timesAsFast(results, ours, 'scp', 1));
  const rounds = { repetitions: options.repetitions, memory: 3 * size };
  const up = withMoved(await interleaved(rounds, deliver));
  const down = withMoved(await interleaved(rounds, fetch));
  return [
    {
      title: title('Delivering'),
      results: up,
      notes: ['ours flushes on the host, lets the host hash what it stored, and renames'],
      targets: asFast(up),
    },
    {
      title: title('Fetching'),
      results: down,
      notes: ['ours hashes while receiving, and flushes to disk'],
      targets: asFast(down),
    },
    await resumed(place, { ...common, direction: 'deliver', local }, local, back),
  ];
}
