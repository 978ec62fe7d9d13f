/** Timestamp authorities that are down, hang, or send wrong answers: nothing is delivered, and the signer keeps running. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { toPem } from '../../../src/sandbox/certificates.ts';
import { MISBEHAVIOURS, type Misbehaviour } from '../../../src/sandbox/timestamp-misbehaviour.ts';
import type { World } from '../../world/site.ts';
import { TestSigner, soundZip, type TestSignerOptions } from './test-signer.ts';

/** The error of each misbehaviour; harmless ones end in a signature. */
const COMES_TO: Record<Misbehaviour, string | null> = {
  hang: 'timestamp-timeout',
  drip: 'timestamp-timeout',
  close: 'timestamp-connection',
  garbage: 'timestamp-malformed',
  html: 'timestamp-content-type',
  'no-content-type': null,
  'octet-stream': null,
  huge: 'timestamp-too-large',
  slow: null,
  'http-429': 'timestamp-http',
  'http-500': 'timestamp-http',
  'http-404': 'timestamp-http',
  redirect: null,
  'redirect-loop': 'timestamp-redirect',
  'redirect-file': 'timestamp-redirect',
  rejection: 'timestamp-status',
  'time-not-available': 'timestamp-status',
  'other-nonce': 'timestamp-nonce',
  'no-nonce': 'timestamp-nonce',
  'other-imprint': 'timestamp-imprint',
  'other-digest': 'timestamp-imprint',
  'other-policy': null,
  'clock-ahead': 'timestamp-time',
  'clock-behind': 'timestamp-time',
  'expired-certificate': 'timestamp-certificate',
  'no-purpose': 'timestamp-certificate',
  'purpose-not-critical': 'timestamp-certificate',
  'two-purposes': 'timestamp-certificate',
  'no-certificate': 'timestamp-certificate',
  unbound: 'timestamp-certificate',
  'bound-to-another': 'timestamp-certificate',
  'bad-signature': 'timestamp-signature',
  'other-root': 'timestamp-untrusted',
};

async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  assert.ok(address !== null && typeof address === 'object');
  return address.port;
}

/** A channel for each misbehaviour, and some with several authorities. */
const misbehavingChannels = (closed: number): TestSignerOptions => ({
  prepare: (world) => writeFile(world.at('tsa.pem'), toPem([world.site.pki.root.certificate])),
  change: (text, world) =>
    `${text.replace(/^signing:$/m, 'signing:\n  timestampRoots: tsa.pem\n  timestampTimeout: 1s')}
channels:
${channels(world, closed)
  .map(([name, urls]) => `  ${name}: { signing: { timestamp: ${JSON.stringify(urls)} } }`)
  .join('\n')}`,
});

const channels = (world: World, closed: number): [string, string[]][] => [
  ...MISBEHAVIOURS.map((each): [string, string[]] => [each, [world.authority.url + each]]),
  ['down', [`http://127.0.0.1:${closed}/`]],
  ['second', [`${world.authority.url}other-nonce`, world.authority.url]],
];

describe('a request whose timestamp authority', () => {
  let signer: TestSigner;
  let sound = '';
  const requests = new Map<string, string>();
  const expected = new Map<string, string>();

  before(async () => {
    signer = await TestSigner.open(misbehavingChannels(await closedPort()));
    for (const [index, name] of [...MISBEHAVIOURS, 'down', 'second'].entries())
      requests.set(
        name,
        await signer.send(`${name}.zip`, soundZip(index), { message: `x\n\nChannel: ${name}\n` }),
      );
    sound = await signer.sendSound();
    await signer.poll();
  });
  after(() => signer.close());

  const refusedFor = async (name: string, code: string): Promise<void> => {
    const { receipt } = await signer.assertRefusal(requests.get(name) ?? '', {
      outcome: 'failed',
      code: 'timestamp-unavailable',
      says: new RegExp(`^no timestamp authority gave a good token: http://127\\.0\\.0\\.1:.*\\[${code}\\]$`),
      // Advice for the signer's operator is in the log; a builder cannot change the signer's configuration.
      hint: /^ask the signer's operator to check its timestamp authorities; then submit it again$/,
    });
    assert.doesNotMatch(receipt.reason?.message ?? '', /\p{Cc}/u);
    assert.ok(receipt.files.every((file) => file.output === undefined && file.signed.length === 0));
  };

  const signedFor = async (name: string): Promise<void> => {
    const { receipt } = await signer.receiptFor(requests.get(name) ?? '');
    assert.equal(receipt.outcome, 'signed', receipt.reason?.message);
    for (const { output } of receipt.files) expected.set(output?.name ?? '', output?.sha256 ?? '');
  };

  for (const name of MISBEHAVIOURS) {
    const code = COMES_TO[name];
    if (code === null) it(`is odd, and no more (${name}), is signed`, () => signedFor(name));
    else it(`answers wrongly (${name}) fails: ${code}`, () => refusedFor(name, code));
  }

  it('is down fails: timestamp-connection', () => refusedFor('down', 'timestamp-connection'));

  it('sends a wrong answer is signed if a second one is configured', () => signedFor('second'));

  it('works is signed after all of them, and nothing else was delivered', () =>
    signer.assertSigned(sound, expected));

  it('fails is asked retry.attempts times, and one that sends a wrong answer only once', () => {
    const asked = (name: string): number =>
      signer.world.authority.requests.filter(({ path }) => path === `/${name}`).length;
    assert.deepEqual(['hang', 'http-500', 'rejection', 'other-root'].map(asked), [2, 2, 2, 1]);
  });
});
