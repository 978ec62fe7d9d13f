/** The network impersonates a timestamp authority, correct except for its root: its tokens are not accepted. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { startTimestampAuthority, type RunningAuthority } from '../../../src/sandbox/timestamp-authority.ts';
import { makeReal } from '../../world/real-certificate.ts';
import type { Receipt } from '../../../src/protocol/control/receipt-schema.ts';
import { TestSigner, soundZip } from './test-signer.ts';

describe('a channel whose certificate is not for tests', () => {
  let signer: TestSigner;
  let impostor: RunningAuthority;
  before(async () => {
    impostor = await startTimestampAuthority();
    signer = await TestSigner.open({
      prepare: async (world) => {
        await makeReal(world.at('keys'));
        await writeFile(world.at('keys', 'passphrase'), 'only for the sandbox\n');
      },
      change: (text, world) => {
        const channel = (name: string, urls: string[], roots = ''): string =>
          `  ${name}: { signing: { certificate: keys/real.pem, key: keys/real.key, timestamp: ${JSON.stringify(urls)}${roots} } }\n`;
        return `${text}\nchannels:\n${[
          channel('silent', [impostor.url]),
          channel('named', [impostor.url], ', timestampRoots: public'),
          channel('own', [impostor.url, world.authority.url], ', timestampRoots: tsa.pem'),
          channel('both', [impostor.url, world.authority.url], ', timestampRoots: [public, tsa.pem]'),
        ].join('')}`;
      },
    });
  });
  after(async () => {
    await signer.close();
    await impostor.close();
  });

  const answered = async (channel: string): Promise<Receipt> => {
    const id = await signer.send(`${channel}.zip`, soundZip(), { message: `x\n\nChannel: ${channel}\n` });
    await signer.poll();
    return (await signer.receiptFor(id)).receipt;
  };

  for (const channel of ['silent', 'named'])
    it(`timestamp-unavailable: accepts no token of an unknown authority (timestampRoots: ${channel === 'silent' ? 'left out' : 'public'})`, async () => {
      const receipt = await answered(channel);
      assert.equal(receipt.outcome, 'failed');
      assert.equal(receipt.reason?.code, 'timestamp-unavailable');
      assert.match(receipt.reason?.message ?? '', /\[timestamp-untrusted\]/);
      assert.ok(receipt.files.every(({ output }) => output === undefined));
    });

  for (const channel of ['own', 'both'])
    it(`skips an unknown authority, and accepts a token of one whose root is configured (${channel})`, async () => {
      const receipt = await answered(channel);
      assert.equal(receipt.outcome, 'signed', receipt.reason?.message);
      assert.equal(receipt.files[0]?.signed[0]?.timestamp?.url, signer.world.authority.url);
    });
});
