import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { sha256Hex } from '../../../src/lib/bytes/hash.ts';
import { loadSshSigner, type SshSigner } from '../../../src/lib/sshsig/ssh-signer.ts';
import { objectId, serializeTree } from '../../../src/lib/git/objects.ts';
import type { NewObject } from '../../../src/lib/git/packfile.ts';
import { writeCommit } from '../../../src/protocol/control/write-commit.ts';
import type { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { buildPe, filler } from '../../fixtures/pe.ts';
import { indexObjects, ObjectCollector } from '../history.ts';
import { median, type Sample } from '../measure.ts';
import type { Place } from '../place.ts';
import { signerCpu } from '../process.ts';
import { atMost, type Group } from '../report.ts';
import type { RunningSigner } from '../running.ts';
import type { BenchOptions } from '../run.ts';

/** Requests for small programs, which differ, in one or several pushes. */
class Requests {
  private made = 0;

  private constructor(
    private readonly place: Place,
    private readonly builder: SshSigner,
    private tip: string,
  ) {}

  static async after(place: Place): Promise<Requests> {
    const builder = await loadSshSigner(place.world.at('keys', 'builder_ed25519'));
    return new Requests(place, builder, await place.world.git('rev-parse', 'main'));
  }

  /** Makes `count` requests, one commit each, and has the branch point to the last of them at once; returns when. */
  async push(count: number): Promise<{ ids: string[]; pushed: number }> {
    const { world } = this.place;
    const collector = new ObjectCollector();
    const ids: string[] = [];
    for (let at = 0; at < count; at += 1) ids.push(await this.add(collector));
    await indexObjects(world.control, collector.objects);
    const pushed = Date.now();
    await world.git('update-ref', 'refs/heads/main', this.tip);
    return { ids, pushed };
  }

  private async add(collector: ObjectCollector): Promise<string> {
    this.made += 1;
    const name = `tool-${this.made}.exe`;
    const bytes = buildPe({ sections: [{ name: '.text', data: filler(20_000, this.made) }] });
    await writeFile(this.place.world.exchange('incoming', name), bytes);
    const content = Buffer.from(`${sha256Hex(bytes)}  ${name}\n`);
    const tree = serializeTree([{ mode: '100644', name: 'zipname', id: objectId('blob', content) }]);
    const objects: NewObject[] = [
      { type: 'blob', content },
      { type: 'tree', content: tree },
    ];
    const commit = {
      tree: objectId('tree', tree),
      parents: [this.tip],
      identity: { name: 'Builder', email: 'builder@sandbox' },
      at: new Date(),
      message: `Sign ${name}`,
    };
    this.tip = await writeCommit(collector as unknown as ControlRepository, objects, commit, this.builder);
    return this.tip;
  }
}

/** Waits until the branch on the host has this number of receipts; returns when, in ms since the epoch. */
async function receiptsAt({ world }: Place, count: number): Promise<number> {
  for (;;) {
    const receipts = Number(await world.git('rev-list', '--count', '--first-parent', 'signed'));
    if (receipts >= count) return Date.now();
    await sleep(5);
  }
}

const receiptCount = async ({ world }: Place): Promise<number> =>
  Number(await world.git('rev-list', '--count', '--first-parent', 'signed'));

/** Answers a queue of requests that were pushed at once, and measures from the push to the last receipt on the host. */
async function oneQueue(
  place: Place,
  signer: RunningSigner,
  requests: Requests,
  count: number,
): Promise<Sample> {
  const state = place.world.at('signer-state');
  const [before, cpu] = [await receiptCount(place), await signerCpu(signer.pid, state)];
  const { ids, pushed } = await requests.push(count);
  await signer.line((line) => line.request === ids.at(-1) && line.outcome !== undefined);
  const wall = ((await receiptsAt(place, before + count)) - pushed) / 1000;
  return { wall, cpu: (await signerCpu(signer.pid, state)) - cpu };
}

async function latencies(place: Place, requests: Requests, count: number): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (let at = 0; at < count; at += 1) {
    await sleep(300 + Math.random() * 1500);
    const before = await receiptCount(place);
    const { pushed } = await requests.push(1);
    samples.push({ wall: ((await receiptsAt(place, before + 1)) - pushed) / 1000 });
  }
  return samples;
}

const OURS = 'signpipe watch';

/** A queue of small requests, and single ones: from the push until the receipt is on the host. */
export async function queue(place: Place, options: BenchOptions): Promise<Group[]> {
  const count = options.full ? 1000 : 200;
  const { url } = await place.authority(0);
  await place.world.reconfigure((text) =>
    text.replace(/^ {2}timestamp: .*\n/gm, '').replace(/^signing:\n/m, `signing:\n  timestamp: ["${url}"]\n`),
  );
  const requests = await Requests.after(place);
  return place.resting(async (signer) => {
    await oneQueue(place, signer, requests, 5);
    const samples: Sample[] = [];
    for (let at = 0; at < options.repetitions; at += 1)
      samples.push(await oneQueue(place, signer, requests, count));
    const rate = count / median(samples.map(({ wall }) => wall));
    const results = [{ name: OURS, ours: true, samples }];
    const single = [
      { name: OURS, ours: true, samples: await latencies(place, requests, options.full ? 40 : 10) },
    ];
    return [
      {
        title: `A queue of ${count} requests for one small program each`,
        results,
        notes: [`${rate.toFixed(1)} requests per second, receipts included`],
        targets: [atMost(results, OURS, 'wall', count / 20)],
      },
      {
        title: 'From push to receipt, one small request at a time',
        results: single,
        notes: ['with the default poll schedule'],
        targets: [atMost(single, OURS, 'wall', 0.7)],
      },
    ];
  });
}
