import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DigestName } from '../../../../src/lib/asn1/oids.ts';
import type { SigningKey } from '../../../../src/engine/keys/signing-key.ts';
import {
  createTestCertificate,
  toPem,
  type KeyKind,
  type TestIdentity,
} from '../../../../src/sandbox/certificates.ts';
import { signsForOthers } from '../judged.ts';
import type { KeyFailure } from './key-process.ts';

export const KINDS = ['rsa3072', 'p256', 'p384', 'p521'] as const satisfies readonly KeyKind[];
export type Kind = (typeof KINDS)[number];

/** The digest that a service signs with a key of this kind. */
export const DIGEST: Readonly<Record<Kind, DigestName>> = {
  rsa3072: 'sha256',
  p256: 'sha256',
  p384: 'sha384',
  p521: 'sha512',
};

/** A publisher for each kind of key, below one root, with the chains in files. */
export class Publishers {
  private constructor(
    readonly folder: string,
    readonly root: TestIdentity,
    readonly of: ReadonlyMap<Kind, TestIdentity>,
  ) {}

  static async create(kinds: readonly Kind[] = KINDS): Promise<Publishers> {
    const folder = await mkdtemp(join(tmpdir(), 'signpipe-cloud-'));
    const root = await createTestCertificate({ commonName: 'Test root', purpose: 'authority' });
    const issuer = await createTestCertificate({
      commonName: 'Test issuer',
      purpose: 'authority',
      issuer: root,
    });
    const of = new Map<Kind, TestIdentity>();
    for (const key of kinds) {
      const identity = await createTestCertificate({ commonName: key, purpose: 'code-signing', issuer, key });
      of.set(key, identity);
      // In no order, and with a stranger: the certificate that fits the key has to be found.
      await writeFile(join(folder, `${key}.pem`), toPem([root.certificate, ...identity.chain].toReversed()));
    }
    return new Publishers(folder, root, of);
  }

  key(kind: Kind) {
    const identity = this.of.get(kind);
    assert.ok(identity);
    return identity.key;
  }

  readonly chainFile = (kind: Kind): string => join(this.folder, `${kind}.pem`);

  remove(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true });
  }

  /** Signs a program, and has other tools judge it. */
  judge(key: SigningKey, hash: DigestName): Promise<void> {
    return signsForOthers(key, this.root, hash);
  }
}

/** Asserts that work fails with a code; returns the failure. No failure shows one of the secrets. */
export async function fails(
  code: string,
  work: Promise<unknown>,
  secrets: readonly string[],
): Promise<KeyFailure> {
  try {
    await work;
  } catch (error) {
    const failure = error as KeyFailure;
    assert.equal(failure.code, code, failure.message);
    for (const secret of secrets) assert.ok(!failure.whole.includes(secret), `the error shows ${secret}`);
    return failure;
  }
  return assert.fail(`it did not fail; expected ${code}`);
}
