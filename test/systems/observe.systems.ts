/** Prometheus' own tool on the shipped rules, and on metrics that a signer wrote. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { execFile } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { AnswerCounters } from '../../src/app/signer/reporting/answer-counters.ts';
import { metricsOf } from '../../src/app/signer/reporting/metrics.ts';
import { metricsText } from '../../src/app/signer/reporting/metrics-text.ts';
import { HoldObserver, observe } from '../../src/app/signer/reporting/observation.ts';
import { TestSigner } from '../app/signer/test-signer.ts';
import { pipeline } from '../pipeline/site.ts';
import { requireTools } from '../tools.ts';

const run = promisify(execFile);
const cwd = pipeline('observe');

describe('promtool', () => {
  let signer: TestSigner;
  before(async () => {
    requireTools({ promtool: 'prometheus' });
    signer = await TestSigner.open();
  });
  after(() => signer.close());

  it('accepts the alert rules, and their unit tests pass', async () => {
    await run('promtool', ['check', 'rules', 'signpipe.rules.yml'], { cwd });
    const { stdout } = await run('promtool', ['test', 'rules', 'signpipe.rules.test.yml'], { cwd });
    assert.match(stdout, /SUCCESS/);
  });

  it('finds nothing to improve in the metrics of a signer', async () => {
    const counters = new AnswerCounters();
    signer.context.activity.listen(counters);
    await signer.signs(await signer.sendSound());
    const observation = await observe(signer.context, new HoldObserver(signer.context));
    const measured = { counters, up: true, started: new Date(), diskFree: 1e9 };
    const child = spawn('promtool', ['check', 'metrics'], { stdio: ['pipe', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (data: Buffer) => (said += data.toString()));
    child.stdin.end(metricsText(metricsOf(observation, measured)));
    const [status] = (await once(child, 'close')) as [number];
    assert.equal(said, '');
    assert.equal(status, 0);
  });
});
