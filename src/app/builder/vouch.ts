import { createVouchCommit } from '../../protocol/control/vouch.ts';
import { unavailable } from '../../lib/errors.ts';
import { withTempFolder } from '../../lib/bytes/temp-folder.ts';
import { committerOf } from '../config/open.ts';
import { appendCommit } from './append-commit.ts';
import { prepareUploads, type PrepareOptions } from './prepare-uploads.ts';
import type { VoucherSession } from './session.ts';

/**
 * States in a signed commit on `vouch/NAME` that this builder got exactly these bytes. Nothing is uploaded. Returns
 * the commit's id.
 */
export async function vouch(
  session: VoucherSession,
  paths: readonly string[],
  options: PrepareOptions = {},
): Promise<string> {
  const { repository, config } = session;
  const { name } = config.vouch;
  return withTempFolder(async (scratch) => {
    const { uploads } = await prepareUploads(paths, scratch, options);
    const files = uploads.map((upload) => ({ name: upload.name, sha256: upload.sha256 }));
    const { signer, identity } = await committerOf(session);
    const branch = `${repository.branches.vouches}/${name}`;
    const id = await appendCommit(
      session,
      branch,
      ({ vouches }) => vouches.get(name) ?? null,
      (parent, root) =>
        createVouchCommit(repository, { parent, files, root, signer, identity, at: new Date() }),
    );
    if (id !== null) return id;
    throw unavailable('vouch-race', `${branch}: other pushes came first ten times in a row`, {
      hint: 'does another builder use this name?',
    });
  });
}
