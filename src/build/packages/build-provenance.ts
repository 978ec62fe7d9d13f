import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { STATEMENT_PAYLOAD } from '../../engine/provenance/statement.ts';
import { signEnvelope } from '../../lib/dsse/envelope.ts';
import type { NamedDigest } from '../../lib/sha256sums.ts';
import type { SshSigner } from '../../lib/sshsig/ssh-signer.ts';
import type { ReleaseSource } from './release-source.ts';

/** This project's own kind of build, under a reserved domain; docs/releasing.md describes it. */
const BUILD_TYPE = 'https://signpipe.invalid/build/v1';

export interface BuildFacts {
  readonly root: string;
  readonly source: ReleaseSource;
  readonly version: string;
}

/** An in-toto statement with a SLSA provenance v1 predicate: of which commit, lock file and Node the files were made. */
export async function buildStatement(files: readonly NamedDigest[], { root, source, version }: BuildFacts) {
  const lock = createHash('sha256')
    .update(await readFile(join(root, 'package-lock.json')))
    .digest('hex');
  return {
    _type: 'https://in-toto.io/Statement/v1',
    subject: files.map(({ name, sha256 }) => ({ name, digest: { sha256 } })),
    predicateType: 'https://slsa.dev/provenance/v1',
    predicate: {
      buildDefinition: {
        buildType: BUILD_TYPE,
        externalParameters: { commit: source.commit, version },
        internalParameters: { node: process.version, sourceDateEpoch: source.seconds },
        resolvedDependencies: [
          { name: 'source', digest: { gitCommit: source.commit } },
          { name: 'package-lock.json', digest: { sha256: lock } },
        ],
      },
      runDetails: { builder: { id: `${BUILD_TYPE}/npm-run-release` } },
    },
  };
}

/** The statement in an envelope, on one line: the content of `signpipe-VERSION.intoto.jsonl`. */
export async function signedProvenance(
  files: readonly NamedDigest[],
  facts: BuildFacts,
  signer: SshSigner,
): Promise<string> {
  const payload = Buffer.from(JSON.stringify(await buildStatement(files, facts)));
  return `${await signEnvelope(STATEMENT_PAYLOAD, payload, signer)}\n`;
}
