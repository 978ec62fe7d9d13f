import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { large, small, type Corpus } from '../corpus/corpus.ts';
import { NetworkProxy } from '../network-proxy.ts';
import { interleaved, median, type Result, type Sample } from '../measure.ts';
import { Place } from '../place.ts';
import { medianOf, megabytes, timesAsFast, type Group, type Target } from '../report.ts';
import type { BenchOptions } from '../run.ts';

/** Bits per second, and round trip in milliseconds. */
const NETWORK = { rate: 100e6, roundTrip: 20 } as const;
/** Bytes sent to measure the rate. */
const PROBE = 20_000_000;
const PINGS = 20;

/** Opens a connection through the proxy, and runs `work` with both ends. */
async function withConnection<T>(work: (here: Socket, there: Socket) => Promise<T>): Promise<T> {
  const listener = createServer({ noDelay: true });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const network = await NetworkProxy.open({ ...NETWORK, port: (listener.address() as AddressInfo).port });
  const here = connect({ port: network.port, host: '127.0.0.1', noDelay: true });
  const [there] = (await once(listener, 'connection')) as [Socket];
  for (const socket of [here, there]) socket.on('error', () => {});
  try {
    return await work(here, there);
  } finally {
    here.destroy();
    await network.close();
    listener.close();
  }
}

/** Bits per second between the first and the last byte received. */
async function rate(from: Socket, to: Socket): Promise<number> {
  from.write(Buffer.alloc(PROBE));
  let [begun, first, got] = [0, 0, 0];
  for await (const chunk of to as AsyncIterable<Buffer>) {
    if (got === 0) [begun, first] = [performance.now(), chunk.length];
    if ((got += chunk.length) >= PROBE) break;
  }
  return ((got - first) * 8000) / (performance.now() - begun);
}

/** Round trip of one byte, in milliseconds. */
async function roundTrip(here: Socket, there: Socket): Promise<number> {
  there.pipe(there);
  const times: number[] = [];
  for (let at = 0; at < PINGS; at += 1) {
    const begun = performance.now();
    here.write('x');
    await once(here, 'data');
    times.push(performance.now() - begun);
  }
  return median(times);
}

/** The rate and round trip that the proxy really gives. */
async function probe(): Promise<string> {
  const there = await withConnection((a, b) => rate(a, b));
  const back = await withConnection((a, b) => rate(b, a));
  const ping = await withConnection(roundTrip);
  const megabits = (bits: number): string => (bits / 1e6).toFixed(1);
  return `measured: ${megabits(there)} Mbit/s there, ${megabits(back)} back, and ${ping.toFixed(1)} ms round trip`;
}

type RequestSigning = (pinned: 'zip' | 'entries') => Promise<Sample>;

/** Runs a signer behind the proxy, which is in this process; each sample has the bytes that passed. */
const behindNetwork = <T>(
  place: Place,
  corpus: Corpus,
  use: (request: RequestSigning) => Promise<T>,
): Promise<T> =>
  place.through(NETWORK, ({ passed }) =>
    place.running(corpus, 0, (signer) =>
      use(async (pinned) => {
        const before = { ...passed };
        const done = await place.answered(signer, corpus, 0, pinned);
        return { ...done, sent: passed.there - before.there, received: passed.back - before.back };
      }),
    ),
  );

const [SPARSE, WHOLE] = ['signpipe, programs pinned', 'signpipe, the zip pinned'];
/** Every host was like this before files were assembled on it. */
const BOTH_WAYS = 'signpipe, a host that cannot copy: the whole zip both ways';

/** Three ways, interleaved: two hosts, each with its own signer. */
async function timed(place: Place, plain: Place, corpus: Corpus, options: BenchOptions): Promise<Result[]> {
  const { repetitions, slowOnce } = options;
  return behindNetwork(place, corpus, (request) =>
    behindNetwork(plain, corpus, async (requestPlain) => {
      const ways = [
        { name: SPARSE, ours: true, run: () => request('entries') },
        { name: WHOLE, ours: true, run: () => request('zip') },
        { name: BOTH_WAYS, ours: true, slow: true, run: () => requestPlain('zip') },
      ];
      await request('entries');
      return interleaved({ repetitions, slowOnce }, ways);
    }),
  );
}

async function targetsOf(place: Place, corpus: Corpus, results: readonly Result[]): Promise<Target[]> {
  const bytes = medianOf(results, SPARSE, 'sent') + medianOf(results, SPARSE, 'received');
  const allowed = 2 * (await place.compressed(corpus)) + 2e6;
  return [
    timesAsFast(results, SPARSE, WHOLE, 6),
    timesAsFast(results, SPARSE, BOTH_WAYS, 6),
    { what: `${SPARSE}, bytes over SSH`, target: `<= ${megabytes(allowed)}`, measured: megabytes(bytes) },
  ];
}

/** Sparse signing against moving the whole zip, over a slow network. */
export async function network(place: Place, options: BenchOptions): Promise<Group[]> {
  const corpus = options.full ? await large(options.work) : await small(options.work);
  const measured = await probe();
  const plain = await Place.start({ sshd: { sftpCommand: 'internal-sftp -P copy-data' } });
  try {
    const before = process.cpuUsage();
    const results = await timed(place, plain, corpus, options);
    const { user, system } = process.cpuUsage(before);
    for (const each of [place, plain])
      await each.check(each.world.exchange('signed', `${corpus.name}.zip`), corpus.ours);
    const used = `the proxy and this harness used ${((user + system) / 1e6).toFixed(1)} s of CPU in all these runs`;
    const title = `${corpus.name} at 100 Mbit/s and 20 ms round trip`;
    return [{ title, results, notes: [measured, used], targets: await targetsOf(place, corpus, results) }];
  } finally {
    await plain.stop();
  }
}
