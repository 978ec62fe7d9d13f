import { createVouchCommit } from '../../protocol/control/vouch.ts';
import { unavailable } from '../../lib/errors.ts';
import { withScratch } from '../../lib/bytes/temp-folder.ts';
import { prepareUploads } from './prepare-uploads.ts';
import { rootForTrailer } from './control-root.ts';
import { committerOf } from '../config/open.ts';
import { type VoucherSession } from './session.ts';

/**
 * Says with a signed commit on `vouch/NAME` that this builder got these very bytes. Nothing is
 * uploaded. Returns the vouch's commit id.
 */
export async function vouch(session: VoucherSession, paths: readonly string[], as?: string): Promise<string> {
  const { repository, config } = session;
  const { name: voice } = config.vouch;
  const branch = `${repository.branches.vouches}/${voice}`;
  return withScratch(async (scratch) => {
    const { uploads } = await prepareUploads(paths, scratch, as);
    const files = uploads.map(({ name, sha256 }) => ({ name, sha256 }));
    const { signer, identity } = await committerOf(session);
    for (let tries = 0; tries < 10; tries += 1) {
      const heads = await repository.fetch();
      const parent = heads.vouches.get(voice) ?? null;
      const root = await rootForTrailer(repository, heads, config);
      const id = await createVouchCommit(repository, {
        parent,
        files,
        root,
        signer,
        identity,
        at: new Date(),
      });
      if ((await repository.push(branch, id, parent)) === 'pushed') return id;
    }
    throw unavailable('vouch-race', `${branch} moves faster than a vouch can be appended`, {
      hint: 'is this name used by another builder?',
    });
  });
}
