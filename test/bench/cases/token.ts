import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { createTestPki, keyToPem, toPem } from '../../../src/sandbox/certificates.ts';
import { PIN, SoftHsm } from '../../world/softhsm.ts';
import { many } from '../corpus/corpus.ts';
import { interleaved, measure, signpipe, type Result, type Sample } from '../measure.ts';
import type { Place } from '../place.ts';
import { medianOf, type Group, type Target } from '../report.ts';
import type { BenchOptions } from '../run.ts';

const run = promisify(execFile);

const SESSIONS = [1, 4];
/** Signing with a token may take this many times as long as with the same key in a file. */
const MARGIN = 1.3;

const FILE = 'a key in a file';
const nameOf = (sessions: number): string => `SoftHSM, x-sessions=${sessions}`;

function target(results: readonly Result[], sessions: number): Target {
  const ratio = medianOf(results, nameOf(sessions), 'wall') / medianOf(results, FILE, 'wall');
  return {
    what: `${nameOf(sessions)}, against the key in a file`,
    target: `<= ${MARGIN} times`,
    measured: `${ratio.toFixed(2)} times`,
  };
}

/** Many small programs with a key on a token, beside the same key in a file. */
export async function token(place: Place, options: BenchOptions): Promise<Group[]> {
  const corpus = await many(options.work, options.full ? 1000 : 100);
  const { codeSigning } = await createTestPki();
  const [chain, key, output] = [
    place.world.at('token.pem'),
    place.world.at('token.key'),
    place.world.at('token.zip'),
  ];
  await writeFile(chain, toPem(codeSigning.chain));
  await writeFile(key, keyToPem(codeSigning.key), { mode: 0o600 });
  const hsm = await SoftHsm.create();
  const files = corpus.patterns.flatMap((pattern) => ['--files', pattern]);
  const signing = async (uri: string): Promise<Sample> => {
    const how = ['--output', output, '--force', '-q', '--certificate', chain, '--key', uri];
    const { wall, cpu, rss } = await measure(signpipe('sign', corpus.zip, ...how, ...files));
    return { wall, cpu, rss };
  };
  try {
    const object = ['--label', 'codesign', '--id', '01', '--token', 'release', '--pin', PIN];
    await run('softhsm2-util', ['--import', key, ...object]);
    const results = await interleaved(options, [
      { name: FILE, ours: true, run: () => signing(key) },
      ...SESSIONS.map((sessions) => ({
        name: nameOf(sessions),
        ours: true,
        run: () => signing(hsm.uri('object=codesign', { more: `&x-sessions=${sessions}` })),
      })),
    ]);
    return [
      {
        title: `${corpus.ours.length} programs with an RSA-3072 key on a SoftHSM token`,
        results,
        notes: ['without timestamps; the CPU time includes the process of the module'],
        targets: [target(results, Math.max(...SESSIONS))],
      },
    ];
  } finally {
    await hsm.remove();
  }
}
