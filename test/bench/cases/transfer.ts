import { spawn } from 'node:child_process';
import { createCipheriv, randomBytes } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { interleaved, measure, root, sha256Of, type Sample, type Way } from '../measure.ts';
import type { Place } from '../place.ts';
import type { Group } from '../report.ts';
import type { BenchOptions } from '../run.ts';
import type { TransferInput } from '../transfer-child.ts';

async function randomFile(path: string, size: number): Promise<void> {
  const cipher = createCipheriv('aes-128-ctr', randomBytes(16), randomBytes(16));
  const file = await open(path, 'w');
  const zeros = Buffer.alloc(4 << 20);
  for (let at = 0; at < size; at += zeros.length)
    await file.write(cipher.update(zeros.subarray(0, Math.min(zeros.length, size - at))));
  await file.close();
}

async function throughExchange(input: TransferInput): Promise<Sample> {
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', join(import.meta.dirname, '../transfer-child.ts')],
    {
      cwd: root,
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  child.stdin.end(JSON.stringify(input));
  return JSON.parse(await text(child.stdout)) as Sample;
}

/** A large file both ways, beside scp alone and scp with the same checks afterwards. */
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
  const input = { url, identity, knownHosts, remote: 'incoming/out.bin', size, sha256 };
  const shell = (script: string) => async (): Promise<Sample> => {
    const { wall, cpu, rss } = await measure(['bash', '-ec', script]);
    return { wall, cpu, rss };
  };
  const scp = `scp -q -F ${sshConfig}`;
  const there = `ssh -F ${sshConfig} far sha256sum ${remote}.scp > /dev/null`;
  const deliver: Way[] = [
    {
      name: 'our exchange',
      ours: true,
      run: () => throughExchange({ ...input, direction: 'deliver', local }),
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
      name: 'our exchange',
      ours: true,
      run: async () => {
        await rm(back, { force: true });
        return throughExchange({ ...input, direction: 'fetch', local: back });
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
  const up = await interleaved(options.repetitions, deliver);
  const down = await interleaved(options.repetitions, fetch);
  return [
    {
      title: title('Delivering'),
      results: up,
      notes: ['ours hashes on the way, flushes there, has the host hash what it stored, and renames'],
    },
    { title: title('Fetching'), results: down, notes: ['ours hashes on the way, and flushes to the disk'] },
  ];
}
