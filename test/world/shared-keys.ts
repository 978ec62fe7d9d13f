/**
 * Keys that worlds share, since they take longer to generate than all the rest of a world: half a second of processor
 * time for each. They are generated once on a machine. A test that needs a key of its own makes one.
 */
import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generateTestKey, keyToPem } from '../../src/sandbox/certificates.ts';
import { cached } from '../fixtures/debian.ts';
import { makeHostKeys } from './sshd.ts';

/** The publisher's RSA key of 3072 bits. The certificates of each world are its own. */
export async function publisherKey(): Promise<KeyObject> {
  const folder = await cached('publisher-key', async (making) => {
    await writeFile(join(making, 'key.pem'), keyToPem(await generateTestKey('rsa3072')), { mode: 0o600 });
  });
  return createPrivateKey(await readFile(join(folder, 'key.pem')));
}

/** A folder with the host keys of sshd; see `SshdOptions.keysFrom`. */
export const hostKeys = (): Promise<string> => cached('ssh-host-keys', makeHostKeys);
