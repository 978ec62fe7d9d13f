import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { attachmentsToDownload } from '../../../src/app/builder/download-attachments.ts';
import { ATTACHMENT_LIMIT } from '../../../src/protocol/control/receipt.ts';
import type { Attachment, ReceiptFile } from '../../../src/protocol/control/receipt-schema.ts';

const attachment = (name: string, size = 10): Attachment => ({
  name,
  kind: 'sha256sums',
  size,
  sha256: 'a'.repeat(64),
});

const file = (name: string, attachments: Attachment[], path?: string): ReceiptFile => ({
  input: { name },
  output: { name, size: 1, sha256: 'b'.repeat(64), ...(path === undefined ? {} : { path }) },
  entries: 1,
  signed: [],
  kept: [],
  attachments,
});

describe('what a receipt says was delivered beside its files', () => {
  it('is what wait downloads: of each file, and of all together', () => {
    const files = [file('a.zip', [attachment('a.zip.SHA256SUMS')]), file('d/b.zip', [])];
    const common = [attachment('0123.SHA256SUMS')];
    const names = attachmentsToDownload({ files, attachments: common }).map(({ name }) => name);
    assert.deepEqual(names, ['a.zip.SHA256SUMS', '0123.SHA256SUMS']);
    assert.deepEqual(attachmentsToDownload({ files: [file('a.zip', [])] }), []);
  });

  const refused: readonly [string, ReceiptFile[], Attachment[]][] = [
    ['a path out of the folder', [file('a.zip', [attachment('../a.zip.SHA256SUMS')])], []],
    ['an absolute path', [file('a.zip', [])], [attachment('/etc/SHA256SUMS')]],
    ['the name of a signed file', [file('a.zip', [attachment('a.zip')])], []],
    ['the name of a signed file in another case', [file('a.zip', [])], [attachment('A.ZIP')]],
    ['one name twice', [file('a.zip', [attachment('a.x'), attachment('a.X')])], []],
    ['more bytes than one may have', [file('a.zip', [attachment('a.x', ATTACHMENT_LIMIT + 1)])], []],
    ['a file that lies under another name', [file('a.zip', [attachment('a.x')], 'request/b.zip')], []],
    ['one whose name is longer there', [file('a.zip', [attachment('a.x')], 'b-a.zip')], []],
  ];
  for (const [what, files, attachments] of refused)
    it(`receipt-name: ${what}`, () => {
      assert.throws(() => attachmentsToDownload({ files, attachments }), {
        code: 'receipt-name',
        kind: 'invalid',
      });
    });
});
