/**
 * Makes a control repository with many receipts, for measuring `signpipe audit`:
 *
 *   node --import tsx test/bench/audit-repo.ts DIR [RECEIPTS] [PROGRAMS]
 *
 * writes DIR/control.git and DIR/allowed_signers. Every commit is signed by an Ed25519 key of its own role, every
 * receipt has its request and, in nine of ten, PROGRAMS signed programs. Of these there are fifty different ones
 * with real signatures and timestamps, used again and again under other names: an audit reads and checks each anew.
 */
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { AuditWorld, hashOf, type Made } from '../audit/world.ts';

const DIFFERENT = 50;
/** Receipts to a pack; memory is bounded by so many. */
const BATCH = 2000;

/** The same program under another name: other unsigned bytes, says the receipt, and the same signature. */
function again({ entry, ...rest }: Made, path: string): Made {
  const before = { ...entry.before, sha256: hashOf(path) };
  return { ...rest, entry: { ...entry, path, before, signature: `signatures/${before.sha256}.p7` } };
}

async function fill(world: AuditWorld, receipts: number, programs: number): Promise<void> {
  const time = new Date(world.clock);
  const made: Made[] = [];
  for (let i = 0; i < DIFFERENT; i += 1) made.push(await world.program(`program-${i}.exe`, time));
  for (let n = 0; n < receipts; n += 1) {
    const request = await world.request();
    const names = n % 10 === 9 ? [] : Array.from({ length: programs }, (_, i) => `bin/${n}-${i}.exe`);
    const own = names.flatMap((path, i) => {
      const program = made[(n + i) % DIFFERENT];
      return program ? [again(program, path)] : [];
    });
    await world.receipt(request, { programs: own });
    if (n % BATCH === BATCH - 1) await world.write();
  }
  await world.write();
}

const { positionals } = parseArgs({ allowPositionals: true });
const [folder, receipts = '10000', programs = '1'] = positionals;
if (folder === undefined) {
  console.error('which folder?');
  process.exitCode = 2;
} else {
  const world = await AuditWorld.create();
  await fill(world, Number(receipts), Number(programs));
  await rm(folder, { recursive: true, force: true });
  await rename(world.folder, folder);
  await writeFile(join(folder, 'allowed_signers'), world.allowedText());
}
