/** The network answers for a timestamp authority, correctly but for the root: nothing of it is taken. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { startTimestampAuthority, type RunningAuthority } from '../../../src/sandbox/timestamp-authority.ts';
import { makeReal } from '../../world/real-certificate.ts';
import { Desk, soundZip, type Told } from './refusal-site.ts';

describe('a channel whose certificate is no test certificate', () => {
  let desk: Desk;
  let impostor: RunningAuthority;
  before(async () => {
    impostor = await startTimestampAuthority();
    desk = await Desk.open({
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
    await desk.close();
    await impostor.close();
  });

  const answered = async (channel: string): Promise<Told> => {
    const id = await desk.send(`${channel}.zip`, soundZip(), { message: `x\n\nChannel: ${channel}\n` });
    await desk.poll();
    return (await desk.receiptFor(id)).told;
  };

  for (const channel of ['silent', 'named'])
    it(`timestamp-unavailable: takes no stamp of an unknown authority (timestampRoots: ${channel === 'silent' ? 'left out' : 'public'})`, async () => {
      const told = await answered(channel);
      assert.equal(told.outcome, 'failed');
      assert.equal(told.reason?.code, 'timestamp-unavailable');
      assert.match(told.reason?.message ?? '', /\[timestamp-untrusted\]/);
      assert.ok(told.files.every(({ output }) => output === undefined));
    });

  for (const channel of ['own', 'both'])
    it(`passes over an unknown authority, and takes a stamp of the one whose root is named (${channel})`, async () => {
      const told = await answered(channel);
      assert.equal(told.outcome, 'signed', told.reason?.message);
      assert.equal(told.files[0]?.signed[0]?.timestamp?.url, desk.world.authority.url);
    });
});
