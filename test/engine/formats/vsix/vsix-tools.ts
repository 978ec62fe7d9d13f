import assert from 'node:assert/strict';
import { signProgram, type SignOptions } from '../../../../src/engine/authenticode/sign.ts';
import { verifySignableFile, type VerifyReport } from '../../../../src/engine/authenticode/verify.ts';
import { openVsix, type VsixFile } from '../../../../src/engine/formats/vsix/vsix-file.ts';
import { createTestPki, testSigningKey, type TestPki } from '../../../../src/sandbox/certificates.ts';
import { buildVsix } from '../../../fixtures/vsix.ts';
import { forge, read, type Forged } from '../../../lib/zip/zips.ts';
import { bytesOf, source } from '../../authenticode/tools.ts';

export const SIGNED_AT = new Date('2026-05-14T12:50:34.900Z');

export const open = (bytes: Buffer): Promise<VsixFile> => openVsix(source(bytes, 'example.vsix'));

export const newPki = (): Promise<TestPki> => createTestPki({ key: 'rsa2048', intermediate: false });

export async function sign(
  pki: TestPki,
  bytes = buildVsix(),
  more: Partial<SignOptions> = {},
): Promise<Buffer> {
  const options = {
    key: testSigningKey(pki.codeSigning),
    timestamper: null,
    signingTime: SIGNED_AT,
    ...more,
  };
  return bytesOf((await signProgram(await open(bytes), options)).content);
}

/** The problems of a package, or the code with which it is refused. */
export async function faultsOf(bytes: Buffer, roots?: TestPki): Promise<string[]> {
  try {
    const options = roots ? { roots: [roots.root.certificate] } : {};
    const report: VerifyReport = await verifySignableFile(await open(bytes), options);
    return report.status === 'unsigned' ? ['unsigned'] : report.problems.map(({ code }) => code);
  } catch (error) {
    return [(error as { code?: string }).code ?? String(error)];
  }
}

/** Paths in a zip with their contents. */
export type Contents = Map<string, Buffer>;

export async function contentsOf(bytes: Buffer): Promise<Contents> {
  const archive = await read(bytes);
  const contents: Contents = new Map();
  for (const entry of archive.layout) contents.set(entry.path, await archive.read(entry));
  return contents;
}

/** A zip with plain headers. */
export const pack = (contents: Contents, more: Partial<Forged> = {}): Buffer =>
  forge(
    [...contents].map(([name, content]) => ({
      name,
      content,
      method: 0,
      central: (header: Buffer) => {
        header.writeUInt16LE(20, 4);
        header.writeUInt32LE(0, 38);
      },
      ...more,
    })),
  );

/** The only path that ends like this. */
export const pathOf = (contents: Contents, end: string): string =>
  [...contents.keys()].find((path) => path.endsWith(end)) ?? assert.fail(end);

/** The package with another text in one of its parts. */
export async function edited(bytes: Buffer, end: string, change: (text: string) => string): Promise<Buffer> {
  const contents = await contentsOf(bytes);
  const path = pathOf(contents, end);
  const text = contents.get(path)?.toString() ?? '';
  const changed = change(text);
  assert.notEqual(changed, text, 'nothing was changed');
  contents.set(path, Buffer.from(changed));
  return pack(contents);
}
