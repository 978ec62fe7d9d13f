import { attachSignature } from '../../lib/git/signed-commit.ts';
import {
  objectId,
  serializeCommit,
  serializeTree,
  type GitIdentity,
  type NewCommit,
} from '../../lib/git/objects.ts';
import type { NewObject } from '../../lib/git/packfile.ts';
import type { ControlRepository } from './repository.ts';

/** Signs commits: an `SshSigner`, or anything else that makes an armoured SSH signature. */
export interface CommitSigner {
  sign(namespace: string, message: Buffer): Promise<string>;
}

/** The bytes of a commit, signed in the namespace `git` unless `signer` is null. */
export async function buildCommit(commit: NewCommit, signer: CommitSigner | null): Promise<Buffer> {
  const unsigned = serializeCommit(commit);
  return signer === null ? unsigned : attachSignature(unsigned, await signer.sign('git', unsigned));
}

/** A commit that is not in the repository yet, and the new objects that belong to it, itself among them. */
export interface BuiltCommit {
  readonly id: string;
  readonly objects: readonly NewObject[];
}

/** Writes a commit and the new objects in its tree; returns the commit's id. Nothing is pushed. */
export async function writeCommit(
  repository: ControlRepository,
  objects: readonly NewObject[],
  commit: NewCommit,
  signer: CommitSigner | null,
): Promise<string> {
  const content = await buildCommit(commit, signer);
  await repository.writeObjects([...objects, { type: 'commit', content }]);
  return objectId('commit', content);
}

export interface FileCommit {
  /** The parent, or null for the first commit of a branch. */
  parent: string | null;
  /** The name of a file in the root folder. */
  name: string;
  /** The file's new content; null removes it. */
  content: Buffer | null;
  message: string;
  identity: GitIdentity;
  at: Date;
  signer: CommitSigner | null;
}

/**
 * Writes a commit that changes one file and keeps the parent's others: a request, a vouch, a HOLD or its removal.
 * Returns the commit's id; `ControlRepository.push` sends it.
 */
export async function commitFile(repository: ControlRepository, change: FileCommit): Promise<string> {
  const { parent, name, content, message, identity, at, signer } = change;
  const before = parent === null ? [] : await repository.readTree((await repository.readCommit(parent)).tree);
  const others = before
    .filter((entry) => entry.name !== name)
    .map(({ mode, exact, id }) => ({ mode, name: exact, id }));
  const objects: NewObject[] = content === null ? [] : [{ type: 'blob', content }];
  const added = content === null ? [] : [{ mode: '100644', name, id: objectId('blob', content) }];
  const tree = serializeTree([...others, ...added]);
  objects.push({ type: 'tree', content: tree });
  const parents = parent === null ? [] : [parent];
  return writeCommit(
    repository,
    objects,
    { tree: objectId('tree', tree), parents, identity, at, message },
    signer,
  );
}
