/** Packages for tests, as Windows Installer writes them: streams with packed names, a storage, times and a root CLSID. */
import { BufferSource } from '../../../../src/lib/bytes/byte-source.ts';
import { openCompoundFile } from '../../../../src/lib/compound-file/compound-file.ts';
import { updateCompoundFile } from '../../../../src/lib/compound-file/update.ts';
import { encodeStreamName } from '../../../../src/engine/formats/msi/stream-names.ts';
import {
  filler,
  makeCompoundFile,
  ROOT_CLSID,
  type MadeFile,
  type MadeStorage,
} from '../../../lib/compound-file/make-compound-file.ts';

export { filler };

/** 2026-01-01T00:00:00Z. */
export const ROOT_TIME = 134_117_280_000_000_000n;

type Root = MadeFile['root'];

/** The streams of a small package; no database, which nothing here reads. */
export const packageRoot = (options: Partial<Root> = {}): Root => ({
  clsid: ROOT_CLSID.msi,
  modified: ROOT_TIME,
  children: [
    { name: '\u0005SummaryInformation', content: filler(300, 2) },
    { name: encodeStreamName('_Tables', { table: true }), content: filler(16, 3) },
    { name: encodeStreamName('_StringData', { table: true }), content: filler(900, 4) },
    { name: encodeStreamName('product.cab'), content: filler(4200, 5) },
    { name: encodeStreamName('File', { table: true }), content: Buffer.alloc(0) },
  ],
  ...options,
});

/** A storage inside of a patch or a package, as a transform is. */
export const transform: MadeStorage = {
  name: '#RTM.1',
  clsid: ROOT_CLSID.mst,
  state: 0x01020304,
  created: ROOT_TIME - 10_000_000n,
  modified: ROOT_TIME,
  children: [
    { name: '\u0005SummaryInformation', content: filler(100, 6) },
    { name: encodeStreamName('_Columns', { table: true }), content: filler(70, 7) },
  ],
};

export const makeMsi = (options: Partial<MadeFile> = {}): Buffer =>
  makeCompoundFile({ version: 3, root: packageRoot(), ...options });

/** A patch: the same with the CLSID of patches and storages of transforms, one of which has the other's name as prefix. */
export const makeMsp = (options: Partial<MadeFile> = {}): Buffer =>
  makeMsi({
    root: packageRoot({
      clsid: ROOT_CLSID.msp,
      children: [
        ...packageRoot().children,
        transform,
        { ...transform, name: '#RTM.10' },
        { ...transform, name: 'RTM.1' },
      ],
    }),
    ...options,
  });

export const makeMst = (options: Partial<MadeFile> = {}): Buffer =>
  makeMsi({ root: packageRoot({ clsid: ROOT_CLSID.mst }), ...options });

/** A package whose streams were added one after another, so that its tree is the one that ole32 would have built. */
export async function buildMsi(options: Partial<MadeFile> = {}, root: Root = packageRoot()): Promise<Buffer> {
  let bytes = makeCompoundFile({ version: 3, root: { ...root, children: [] }, ...options });
  for (const each of root.children) {
    if (!('content' in each)) continue;
    const file = await openCompoundFile(new BufferSource(bytes, 'setup.msi'));
    const content = new BufferSource(each.content, each.name);
    const updated = await updateCompoundFile(file, { write: [{ name: each.name, content }] });
    bytes = await updated.read(0, updated.size);
  }
  return bytes;
}
