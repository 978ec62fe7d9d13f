import { openVsix, type VsixFile } from '../../src/engine/formats/vsix/vsix-file.ts';
import { readOpcObject, readOpcSignature } from '../../src/engine/formats/vsix/read-signature.ts';
import type { SignableFile } from '../../src/engine/formats/signable-file.ts';
import type { SignOptions } from '../../src/engine/authenticode/sign.ts';
import type { ByteSource } from '../../src/lib/bytes/byte-source.ts';
import { readRelationships } from '../../src/lib/opc/relationships.ts';
import { dosTimeOf, timeOfDos } from '../../src/lib/zip/edit-entries.ts';

/** The names and times of the run that signed an extension. */
export async function runOfVsix(file: SignableFile): Promise<Pick<SignOptions, 'opc' | 'containerTime'>> {
  const { content, signatures } = file as VsixFile;
  const [signature] = signatures;
  const { signed, relationships, archive } = content;
  if (!signed || !signature) return {};
  const list = readRelationships(await archive.read(signed.originRelationships.entry), 'it');
  const id = (all: readonly { readonly type: string; readonly id: string }[], end: string): string =>
    all.find(({ type }) => type.endsWith(end))?.id ?? '';
  const { object } = readOpcSignature(signature, 'it');
  return {
    opc: {
      part: signed.signature.name.replace(/^.*\//, '').replace('.psdsxs', ''),
      originId: id(relationships, '/digital-signature/origin'),
      signatureId: id(list, '/digital-signature/signature'),
      time: readOpcObject(object, 'it').time,
    },
    containerTime: timeOfDos(dosTimeOf(signed.signature.entry)),
  };
}

/** The first part in which two packages differ, in the order of the zip; null if they have equal parts. */
export async function partsDiffer(actual: ByteSource, expected: ByteSource): Promise<string | null> {
  const [one, other] = [(await openVsix(actual)).content.archive, (await openVsix(expected)).content.archive];
  if (one.entries.length !== other.entries.length) return 'they have different numbers of parts';
  for (const [at, entry] of one.entries.entries()) {
    const twin = other.entries[at];
    if (twin?.path !== entry.path || !(await one.read(entry)).equals(await other.read(twin)))
      return `${entry.path} differs from ${twin?.path}`;
  }
  return null;
}
