import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { large, small, type Corpus } from '../corpus/corpus.ts';
import { Line } from '../line.ts';
import { interleaved, median, type Sample } from '../measure.ts';
import type { Place } from '../place.ts';
import { megabytes, timesAsFast, type Group, type Target } from '../report.ts';
import type { BenchOptions } from '../run.ts';
import type { RunningSigner } from '../running.ts';

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

/** One request over the line, with what passed; the line lies in this process. */
async function sample(
  place: Place,
  signer: RunningSigner,
  line: Line,
  corpus: Corpus,
  pinned: 'zip' | 'entries',
): Promise<Sample> {
  const before = { ...line.passed };
  const done = await place.answered(signer, corpus, 0, pinned);
  return { ...done, sent: line.passed.there - before.there, received: line.passed.back - before.back };
}

/** Programs pinned one by one, so that the rest of the zip stays where it is, against the zip moved as a whole. */
export async function line(place: Place, options: BenchOptions): Promise<Group[]> {
  const corpus = options.full ? await large(options.work) : await small(options.work);
  const gives = await probe();
  const [sparse, whole] = ['signpipe, programs pinned', 'signpipe, the zip pinned'];
  const before = process.cpuUsage();
  const results = await place.through(TERMS, (line) =>
    place.running(corpus, 0, async (signer) => {
      const ways = [
        { name: sparse, ours: true, run: () => sample(place, signer, line, corpus, 'entries') },
        { name: whole, ours: true, run: () => sample(place, signer, line, corpus, 'zip') },
      ];
      await place.answered(signer, corpus, 0, 'entries');
      return interleaved(options.repetitions, ways);
    }),
  );
  const { user, system } = process.cpuUsage(before);
  await place.check(place.world.exchange('signed', `${corpus.name}.zip`), corpus.ours);
  const bytes = median((results[0]?.samples ?? []).map(({ sent = 0, received = 0 }) => sent + received));
  const allowed = 2 * (await place.compressed(corpus)) + 2e6;
  const targets: Target[] = [
    timesAsFast(results, sparse, whole, 6),
    { what: `${sparse}, bytes over SSH`, target: `<= ${megabytes(allowed)}`, measured: megabytes(bytes) },
  ];
  return [
    {
      title: `${corpus.name} at 100 Mbit/s and 20 ms there and back`,
      results,
      notes: [
        gives,
        `the line and this harness used ${((user + system) / 1e6).toFixed(1)} s of CPU in all these runs`,
      ],
      targets,
    },
  ];
}
