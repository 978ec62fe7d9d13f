import { writeFile } from 'node:fs/promises';
import { createTestPki, keyToPem, toPem } from '../../../src/sandbox/certificates.ts';
import { awsKey, AwsKmsServer } from '../../world/cloud/aws-kms-server.ts';
import { many, type Corpus } from '../corpus/corpus.ts';
import { interleaved, measure, median, signpipe, type Result, type Sample } from '../measure.ts';
import type { Place } from '../place.ts';
import { medianOf, type Group, type Target } from '../report.ts';
import type { BenchOptions } from '../run.ts';

/** How long the service takes for an answer, in milliseconds. */
const LATENCY = 80;
const CONCURRENCIES = [8, 32, 64];
/** Signing is limited by the service alone if it takes no longer than its answers and the rest of the work together. */
const MARGIN = 1.1;

const CREDENTIALS = { id: 'AKIAIOSFODNN7EXAMPLE', secret: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' };
const ID = '1234abcd-12ab-34cd-56ef-1234567890ab';

/** With the requests in flight, on average over the whole run, start and end included. */
interface ServiceSample extends Sample {
  readonly inFlight: number;
}

const FILE = 'a key in a file';
const nameOf = (concurrency: number): string => `AWS KMS, ${concurrency} in flight`;

/** The time that the answers alone take, in seconds: one for the public key, then those for the signatures. */
const answersOf = ({ ours }: Corpus, concurrency: number): number =>
  (1 + Math.ceil(ours.length / concurrency)) * (LATENCY / 1000);

/** The target for one concurrency: the answers' own time, and that of everything else with a key in a file. */
function target(results: readonly Result[], corpus: Corpus, concurrency: number): Target {
  const answers = answersOf(corpus, concurrency);
  const measured = medianOf(results, nameOf(concurrency), 'wall');
  const most = MARGIN * (answers + medianOf(results, FILE, 'wall'));
  const rate = (seconds: number): string =>
    `${seconds.toFixed(2)} s, ${(corpus.ours.length / seconds).toFixed(0)} programs/s`;
  return {
    what: `${nameOf(concurrency)}; its answers alone: ${rate(answers)}`,
    target: `<= ${rate(most)}`,
    measured: rate(measured),
  };
}

/** Many small programs with a key in a service that answers slowly, beside the same key in a file. */
export async function service(place: Place, options: BenchOptions): Promise<Group[]> {
  const corpus = await many(options.work, options.full ? 1000 : 100);
  const { codeSigning } = await createTestPki({ key: 'rsa2048' });
  const [chain, key, output] = [
    place.world.at('service.pem'),
    place.world.at('service.key'),
    place.world.at('service.zip'),
  ];
  await writeFile(chain, toPem(codeSigning.chain));
  await writeFile(key, keyToPem(codeSigning.key), { mode: 0o600 });
  const server = await AwsKmsServer.start(CREDENTIALS, { latencyMs: LATENCY });
  server.add(awsKey(codeSigning.key), 'bench', ID);
  const env = {
    ...process.env,
    AWS_ACCESS_KEY_ID: CREDENTIALS.id,
    AWS_SECRET_ACCESS_KEY: CREDENTIALS.secret,
    AWS_REGION: AwsKmsServer.region,
    AWS_ENDPOINT_URL_KMS: `http://127.0.0.1:${server.port}`,
    AWS_EC2_METADATA_DISABLED: 'true',
  };
  const files = corpus.patterns.flatMap((pattern) => ['--files', pattern]);
  const signing = async (...how: string[]): Promise<ServiceSample> => {
    const command = signpipe(
      'sign',
      corpus.zip,
      '--output',
      output,
      '--force',
      '-q',
      '--certificate',
      chain,
      ...files,
      ...how,
    );
    server.busyMs = 0;
    const { wall, cpu, rss } = await measure(command, { env });
    return { wall, cpu, rss, inFlight: server.busyMs / 1000 / wall };
  };
  const inFlight = new Map<number, number[]>();
  try {
    const results = await interleaved(options, [
      { name: FILE, ours: true, run: () => signing('--key', key) },
      ...CONCURRENCIES.map((concurrency) => ({
        name: nameOf(concurrency),
        ours: true,
        run: async () => {
          const sample = await signing(
            '--key',
            'awskms:///alias/bench',
            '--concurrency',
            String(concurrency),
          );
          inFlight.set(concurrency, [...(inFlight.get(concurrency) ?? []), sample.inFlight]);
          return sample;
        },
      })),
    ]);
    const averages = [...inFlight].map(
      ([concurrency, samples]) => `${nameOf(concurrency)}: ${median(samples).toFixed(1)} on average`,
    );
    return [
      {
        title: `${corpus.ours.length} programs with an RSA-2048 key in a service that answers after ${LATENCY} ms`,
        results,
        notes: [
          'without timestamps; the service runs in this process and checks each request',
          ...averages,
          `at most ${server.mostInFlight} requests were in flight, over ${server.connections} connections in all`,
        ],
        targets: CONCURRENCIES.map((concurrency) => target(results, corpus, concurrency)),
      },
    ];
  } finally {
    await server.close();
  }
}
