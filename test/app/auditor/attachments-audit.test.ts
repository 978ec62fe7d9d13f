import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { readAudit } from '../../../src/app/auditor/audit-repository.ts';
import { ControlRepository } from '../../../src/protocol/control/repository.ts';
import type { Attachment, Receipt } from '../../../src/protocol/control/receipt-schema.ts';
import { AuditWorld, hashOf, type Made } from './sample-history.ts';

let keys: AuditWorld;
let programs: Made[];
before(async () => {
  keys = await AuditWorld.create();
  programs = [await keys.program('bin/tool.exe', new Date('2026-01-05T08:00:00Z'))];
});
after(() => keys.close());

/** An attachment of the only file, which is called build.zip. */
const attachment = (content: string, change: Partial<Attachment> = {}): Attachment => ({
  name: 'build.zip.SHA256SUMS',
  kind: 'sha256sums',
  size: Buffer.byteLength(content),
  sha256: hashOf(content),
  ...change,
});

const SUMS = `${hashOf('build.zip out')}  build.zip\n`;

interface AttachmentCase {
  readonly code: string | null;
  readonly what: string;
  /** What the commit contains. */
  readonly contents: readonly string[];
  /** What the receipt says. */
  readonly says: readonly Attachment[];
  readonly common?: readonly Attachment[];
}

/** The problems of a receipt with these attachments. */
async function problemsOf({ contents, says, common }: AttachmentCase): Promise<string[]> {
  const world = await keys.another();
  const withAttachments = (receipt: Receipt): Receipt => ({
    ...receipt,
    files: receipt.files.map((file) => ({ ...file, attachments: [...says] })),
    ...(common ? { attachments: [...common] } : {}),
  });
  await world.receipt(await world.request({ name: 'build.zip' }), {
    programs,
    attachments: new Map(contents.map((content) => [hashOf(content), Buffer.from(content)])),
    edit: withAttachments,
  });
  await world.write();
  const repository = await ControlRepository.openExisting(world.gitDir);
  try {
    const { problems } = await readAudit(repository, { allowed: world.allowed() });
    return problems.map(({ code }) => code);
  } finally {
    repository.close();
  }
}

const cases: readonly AttachmentCase[] = [
  { code: null, what: 'a checksum file', contents: [SUMS], says: [attachment(SUMS)] },
  {
    code: null,
    what: 'a checksum file of the request',
    contents: [SUMS],
    says: [],
    common: [attachment(SUMS, { name: 'request.SHA256SUMS' })],
  },
  {
    code: null,
    what: 'a kind that a later version adds',
    contents: ['anything'],
    says: [attachment('anything', { kind: 'later' })],
  },
  {
    code: 'receipt-attachment-differs',
    what: 'a checksum file with another digest',
    contents: [SUMS.replace(/^./, (digit) => (digit === '0' ? '1' : '0'))],
    says: [attachment(SUMS.replace(/^./, (digit) => (digit === '0' ? '1' : '0')))],
  },
  {
    code: 'receipt-attachment-differs',
    what: 'a checksum file with one more line',
    contents: [`${SUMS}${hashOf('x')}  other.zip\n`],
    says: [attachment(`${SUMS}${hashOf('x')}  other.zip\n`)],
  },
  {
    code: 'receipt-attachment-differs',
    what: 'another size than it says',
    contents: [SUMS],
    says: [attachment(SUMS, { size: 1 })],
  },
];

describe('what a receipt says was delivered beside its files', () => {
  for (const each of cases)
    it(each.code === null ? `is found sound: ${each.what}` : `${each.code}: ${each.what}`, async () => {
      assert.deepEqual(await problemsOf(each), each.code === null ? [] : [each.code]);
    });

  it('cannot be written if the commit lacks it or has more', async () => {
    const missing = { code: '', what: '', contents: [], says: [attachment(SUMS)] };
    await assert.rejects(problemsOf(missing), { code: 'receipt-unsound' });
    const stray = { code: '', what: '', contents: [SUMS, 'stray'], says: [attachment(SUMS)] };
    await assert.rejects(problemsOf(stray), { code: 'receipt-unsound' });
  });
});
