import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { large, small, type Corpus } from '../corpus/corpus.ts';
import { Line } from '../line.ts';
import { interleaved, median, type Result, type Sample } from '../measure.ts';
import { Place } from '../place.ts';
import { medianOf, megabytes, timesAsFast, type Group, type Target } from '../report.ts';
import type { BenchOptions } from '../run.ts';

/** Bits a second, and milliseconds there and back. */
const TERMS = { rate: 100e6, roundTrip: 20 } as const;
/** Bytes sent to see what the line gives. */
const PROBE = 20_000_000;
const PINGS = 20;

/** Has two ends of a connection over such a line. */
async function overLine<T>(work: (here: Socket, there: Socket) => Promise<T>): Promise<T> {
  const listener = createServer({ noDelay: true });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const line = await Line.open({ ...TERMS, port: (listener.address() as AddressInfo).port });
  const here = connect({ port: line.port, host: '127.0.0.1', noDelay: true });
  const [there] = (await once(listener, 'connection')) as [Socket];
  for (const socket of [here, there]) socket.on('error', () => {});
  try {
    return await work(here, there);
  } finally {
    here.destroy();
    await line.close();
    listener.close();
  }
}

/** Bits a second at which bytes come in, from the first to the last. */
async function rate(from: Socket, to: Socket): Promise<number> {
  from.write(Buffer.alloc(PROBE));
  let [begun, first, got] = [0, 0, 0];
  for await (const chunk of to as AsyncIterable<Buffer>) {
    if (got === 0) [begun, first] = [performance.now(), chunk.length];
    if ((got += chunk.length) >= PROBE) break;
  }
  return ((got - first) * 8000) / (performance.now() - begun);
}

/** Milliseconds that one byte takes there and back. */
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

/** What such a line really gives. */
async function probe(): Promise<string> {
  const there = await overLine((a, b) => rate(a, b));
  const back = await overLine((a, b) => rate(b, a));
  const ping = await overLine(roundTrip);
  const megabits = (bits: number): string => (bits / 1e6).toFixed(1);
  return `such a line gave ${megabits(there)} Mbit/s there, ${megabits(back)} back, and ${ping.toFixed(1)} ms round trip`;
}

type Ask = (pinned: 'zip' | 'entries') => Promise<Sample>;

/** Has a signer run beyond such a line; each request to it tells what passed. The line lies in this process. */
const beyond = <T>(place: Place, corpus: Corpus, use: (ask: Ask) => Promise<T>): Promise<T> =>
  place.through(TERMS, ({ passed }) =>
    place.running(corpus, 0, (signer) =>
      use(async (pinned) => {
        const before = { ...passed };
        const done = await place.answered(signer, corpus, 0, pinned);
        return { ...done, sent: passed.there - before.there, received: passed.back - before.back };
      }),
    ),
  );

const [SPARSE, WHOLE] = ['signpipe, programs pinned', 'signpipe, the zip pinned'];
/** What every host was to us before files were put together on it. */
const BOTH_WAYS = 'signpipe, a host that cannot copy: the whole zip both ways';

/** Three ways in turns: two hosts, each with a signer of its own. */
async function timed(place: Place, plain: Place, corpus: Corpus, options: BenchOptions): Promise<Result[]> {
  const { repetitions, slowOnce } = options;
  return beyond(place, corpus, (ask) =>
    beyond(plain, corpus, async (askPlain) => {
      const ways = [
        { name: SPARSE, ours: true, run: () => ask('entries') },
        { name: WHOLE, ours: true, run: () => ask('zip') },
        { name: BOTH_WAYS, ours: true, slow: true, run: () => askPlain('zip') },
      ];
      await ask('entries');
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

/** Programs pinned one by one, so that the rest of the zip stays where it is, against the zip moved as a whole. */
export async function line(place: Place, options: BenchOptions): Promise<Group[]> {
  const corpus = options.full ? await large(options.work) : await small(options.work);
  const gives = await probe();
  const plain = await Place.start({ sshd: { sftpCommand: 'internal-sftp -P copy-data' } });
  try {
    const before = process.cpuUsage();
    const results = await timed(place, plain, corpus, options);
    const { user, system } = process.cpuUsage(before);
    for (const each of [place, plain])
      await each.check(each.world.exchange('signed', `${corpus.name}.zip`), corpus.ours);
    const used = `the line and this harness used ${((user + system) / 1e6).toFixed(1)} s of CPU in all these runs`;
    const title = `${corpus.name} at 100 Mbit/s and 20 ms there and back`;
    return [{ title, results, notes: [gives, used], targets: await targetsOf(place, corpus, results) }];
  } finally {
    await plain.stop();
  }
}
