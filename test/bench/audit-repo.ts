/**
 * Makes a control repository with many receipts, for measuring `signpipe audit`:
 *
 *   node --import tsx test/bench/audit-repo.ts DIR [RECEIPTS] [PROGRAMS]
 *
 * writes DIR/control.git and DIR/allowed_signers. Every commit is signed by the Ed25519 key of its role; every receipt
 * has its request and, nine times in ten, PROGRAMS programs, each really signed and timestamped.
 */
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { AuditWorld, type Made } from '../app/auditor/sample-history.ts';

/** Receipts per pack, which limits memory. */
const BATCH = 2000;

async function fill(world: AuditWorld, receipts: number, programs: number): Promise<void> {
  const time = new Date(world.clock);
  for (let n = 0; n < receipts; n += 1) {
    const request = await world.request();
    const made: Made[] = [];
    const count = n % 10 === 9 ? 0 : programs;
    for (let i = 0; i < count; i += 1) made.push(await world.program(`bin/${n}-${i}.exe`, time));
    await world.receipt(request, { programs: made });
    if (n % BATCH === BATCH - 1) await world.write();
  }
  await world.write();
}

const { positionals } = parseArgs({ allowPositionals: true });
const [folder, receipts = '10000', programs = '1'] = positionals;
if (folder === undefined) {
  console.error('usage: audit-repo.ts DIR [RECEIPTS] [PROGRAMS]');
  process.exitCode = 2;
} else {
  const world = await AuditWorld.create();
  await fill(world, Number(receipts), Number(programs));
  await rm(folder, { recursive: true, force: true });
  await rename(world.folder, folder);
  await writeFile(join(folder, 'allowed_signers'), world.allowedText());
}
