import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { MetricsFile } from '../../../../src/app/signer/reporting/metrics-file.ts';
import { Histogram, metricsText } from '../../../../src/app/signer/reporting/metrics-text.ts';
import { HoldObserver, observe } from '../../../../src/app/signer/reporting/observation.ts';
import { SignpipeError } from '../../../../src/lib/errors.ts';
import { TestSigner } from '../test-signer.ts';
import { parseMetrics, type ParsedMetrics } from './parse-metrics.ts';

let signer: TestSigner;
let file: MetricsFile;

before(async () => {
  signer = await TestSigner.open();
  file = new MetricsFile(signer.context, signer.world.at('signpipe.prom'));
});
after(() => signer.close());

async function write(close = false): Promise<ParsedMetrics> {
  const observation = await observe(signer.context, new HoldObserver(signer.context));
  // Each file of this test is due at once.
  await (close ? file.close(observation) : new Promise((done) => setImmediate(done)));
  if (!close) {
    Object.assign(file, { due: 0 });
    file.report(observation);
    await file.settled;
  }
  return parseMetrics(await readFile(signer.world.at('signpipe.prom'), 'utf8'));
}

describe('metrics.file', () => {
  it('is what node_exporter reads, with every answer, wait and certificate', async () => {
    await signer.signs(await signer.sendSound());
    await signer.ask('not a zipname\n');
    await signer.poll();
    await signer.ask(`${'a'.repeat(64)}  later.zip\n`, {
      date: new Date(Date.now() + 3_600_000).toISOString(),
    });
    await signer.poll();
    signer.context.activity.polled();
    const metrics = await write();
    const value = (series: string): number | undefined => metrics.get(series);
    assert.equal(value('signpipe_up'), 1);
    assert.equal(value('signpipe_requests_total{outcome="signed"}'), 1);
    assert.equal(value('signpipe_requests_total{outcome="rejected"}'), 1);
    assert.equal(value('signpipe_requests_total{outcome="failed"}'), 0);
    assert.equal(value('signpipe_queue_length{reason="request-in-future"}'), 1);
    assert.equal(value('signpipe_request_duration_seconds_count'), 2);
    assert.equal(value('signpipe_request_duration_seconds_bucket{le="+Inf"}'), 2);
    assert.equal(value('signpipe_stage_duration_seconds_count{stage="sign"}'), 1);
    assert.equal(value('signpipe_channel_usable{channel="default"}'), 1);
    assert.equal(value('signpipe_alarm'), 0);
    assert.ok((value('signpipe_certificate_expiry_timestamp_seconds{channel="default"}') ?? 0) > 1.7e9);
    assert.ok((value('signpipe_disk_free_bytes') ?? 0) > 0);
    const { url } = signer.world.authority;
    assert.equal(value(`signpipe_timestamp_authority_up{channel="default",url="${url}"}`), 1);
  });

  it('can be read by node_exporter, whatever the umask, and nothing half-written is ever seen', async () => {
    const umask = process.umask(0o077);
    try {
      await write();
    } finally {
      process.umask(umask);
    }
    assert.equal((await stat(signer.world.at('signpipe.prom'))).mode & 0o777, 0o644);
  });

  it('shows an alarm, and at the end that the signer was stopped', async () => {
    signer.context.activity.failed(new SignpipeError('alarm', 'history-rewound', 'back'));
    const during = await write();
    assert.equal(during.get('signpipe_alarm'), 1);
    assert.equal(during.get('signpipe_polls_total{result="failed"}'), 1);
    assert.equal((await write(true)).get('signpipe_up'), 0);
  });

  it('metrics-not-written: a folder that is missing is logged once', async () => {
    const lost = new MetricsFile(signer.context, signer.world.at('no-folder', 'signpipe.prom'));
    const observation = await observe(signer.context, new HoldObserver(signer.context));
    for (let each = 0; each < 2; each += 1) await lost.close(observation);
    const logged = signer.logged.filter(({ code }) => code === 'metrics-not-written');
    assert.equal(logged.length, 1);
    assert.match(logged[0]?.hint ?? '', /ReadWritePaths/);
  });
});

describe('the text format', () => {
  it('escapes labels, so that no text can look like another series', () => {
    const text = metricsText([
      {
        name: 'm',
        type: 'gauge',
        help: 'Help.',
        samples: [{ labels: { a: 'x"} 1\nm{a="y\\' }, value: 2 }],
      },
    ]);
    assert.equal(text, '# HELP m Help.\n# TYPE m gauge\nm{a="x\\"} 1\\nm{a=\\"y\\\\"} 2\n');
    assert.equal(parseMetrics(text).size, 1);
  });

  it('counts in cumulative buckets', () => {
    const histogram = new Histogram([1, 5]);
    for (const seconds of [0.5, 1, 3, 9, -1]) histogram.add(seconds);
    assert.deepEqual(
      histogram.samples().map(({ value }) => value),
      [3, 4, 5, 13.5, 5],
    );
  });
});
