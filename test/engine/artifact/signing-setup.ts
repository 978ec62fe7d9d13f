import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestCertificate, testSigningKey } from '../../../src/sandbox/certificates.ts';
import type { SignArtifactOptions } from '../../../src/engine/artifact/signed-artifact.ts';
import { LIMITS } from '../../lib/zip/zips.ts';

/** Options for signing with a new certificate and without timestamps, and a folder that the test removes. */
interface SigningSetup {
  readonly folder: string;
  readonly signing: Omit<SignArtifactOptions, 'isOurs'>;
}

export async function makeSigningSetup(): Promise<SigningSetup> {
  const folder = await mkdtemp(join(tmpdir(), 'signpipe-signing-'));
  const identity = await createTestCertificate({ commonName: 'Us', purpose: 'code-signing', key: 'p256' });
  const signing = {
    key: testSigningKey(identity),
    hash: 'sha256',
    timestamper: null,
    alreadySigned: 'keep',
    limits: LIMITS,
    scratch: folder,
  } as const;
  return { folder, signing };
}
