/** Small files of each format, from the builders of the tests; where a format can be signed, also signed ones. */
import { signProgram } from '../../src/engine/authenticode/sign.ts';
import type { FileFormat } from '../../src/engine/formats/signable-file.ts';
import type { SigningKey } from '../../src/engine/keys/signing-key.ts';
import { BufferSource } from '../../src/lib/bytes/byte-source.ts';
import { isRefused } from '../../src/lib/errors.ts';
import { catalogOf, catalogOfDriver } from '../engine/formats/catalog/catalogs.ts';
import { ENCODINGS } from '../engine/formats/script/scripts.ts';
import { buildCab } from '../fixtures/cab.ts';
import { buildBundle, buildPackage } from '../fixtures/msix.ts';
import { buildNuget } from '../fixtures/nuget.ts';
import { buildPe } from '../fixtures/pe.ts';
import { buildVsix } from '../fixtures/vsix.ts';
import { makeCompoundFile, ROOT_CLSID } from '../lib/compound-file/make-compound-file.ts';
import { extra, forge, forgeZip64 } from '../lib/zip/zips.ts';
import type { Input } from './exercise.ts';
import { fuzzKey } from './fuzz-key.ts';

const named = (name: string, bytes: Buffer): Input => ({ name, bytes });

/** What the key's certificate is called, as a package names its publisher. */
const publisher = 'CN=Fuzzing';

const cab = (compression: 'stored' | 'mszip', checksums: boolean): Buffer =>
  buildCab({
    folders: [
      {
        files: [
          { name: 'hello.txt', data: Buffer.from('hello '.repeat(60)) },
          { name: 'a.exe', data: buildPe() },
        ],
        compression,
      },
      { files: [{ name: 'dir\\other.txt', data: Buffer.from('other') }] },
    ],
    checksums,
  });

/** Compound files of both versions, with small and large streams, storages, and free sectors. */
export const compoundFiles = (): Input[] => {
  const small = { name: 'Small', content: Buffer.from('small '.repeat(20)) };
  const large = { name: 'Large', content: Buffer.alloc(5000, 'large') };
  const storage = { name: 'Storage', children: [small, { name: 'Empty', content: Buffer.alloc(0) }] };
  const children = [{ ...small, name: '\x05SummaryInformation' }, large, storage];
  const root = { clsid: ROOT_CLSID.msi, children };
  return [
    named('a.msi', makeCompoundFile({ version: 3, root })),
    named('a.msp', makeCompoundFile({ version: 4, root: { ...root, clsid: ROOT_CLSID.msp } })),
    named(
      'free.msi',
      makeCompoundFile({ version: 3, root, freeSectors: 2, freeMiniSectors: 2, unusedEntries: 2 }),
    ),
    named('list.mst', makeCompoundFile({ version: 3, root: { ...root, clsid: ROOT_CLSID.mst }, list: true })),
  ];
};

const scripts = (name: string, text: string): Input[] =>
  Object.entries(ENCODINGS).map(([encoding, encode]) => named(`${encoding}.${name}`, encode(text)));

/** Unsigned files by format. */
const UNSIGNED: Readonly<Record<string, () => Input[]>> = {
  pe: () => [
    named('a.exe', buildPe()),
    named('a.dll', buildPe({ machine: 'x86', dll: true, overlay: Buffer.from('overlay') })),
    named('a.efi', buildPe({ subsystem: 'efi', machine: 'arm64', fileAlignment: 32 })),
  ],
  cab: () => [
    named('a.cab', cab('mszip', true)),
    named('b.cab', cab('mszip', false)),
    named('c.cab', cab('stored', false)),
  ],
  catalog: () => [named('a.cat', catalogOf('a', 'b')), named('b.cat', catalogOfDriver())],
  msi: compoundFiles,
  msix: () => [
    named('a.msix', buildPackage({ publisher })),
    named('b.msix', buildPackage({ publisher, files: [{ name: 'a.exe', content: buildPe() }] })),
    named(
      'a.msixbundle',
      buildBundle([{ name: 'a.msix', content: buildPackage({ publisher }) }], { publisher }),
    ),
  ],
  vsix: () => [named('a.vsix', buildVsix())],
  nuget: () => [named('a.1.0.0.nupkg', buildNuget())],
  powershell: () => [
    ...scripts('ps1', 'Write-Output 1\r\n'),
    ...scripts('ps1xml', '<?xml version="1.0"?>\n<a/>\n'),
    ...scripts('mof', 'class A {};\n'),
  ],
  'script-host': () => [
    ...scripts('js', 'WScript.Echo(1);\r\n'),
    ...scripts('vbs', 'WScript.Echo 1\r\n'),
    ...scripts('wsf', '<job>\r\n<script language="JScript">\r\n1;\r\n</script>\r\n</job>\r\n'),
  ],
};

/** The time in signatures and containers that hold one. */
const TIME = new Date('2026-01-01T00:00:00Z');

async function signedForms(format: FileFormat, unsigned: Input, key: SigningKey): Promise<Input[]> {
  const { name } = unsigned;
  const sign = async (bytes: Buffer, existing: 'refuse' | 'append'): Promise<Buffer> => {
    const file = await format.open(new BufferSource(bytes, name));
    const options = { key, timestamper: null, signingTime: TIME, containerTime: TIME, existing };
    const { content } = await signProgram(file, { ...options, name: existing, url: 'https://example.org' });
    return content.read(0, content.size);
  };
  const forms: Input[] = [];
  try {
    const once = await sign(unsigned.bytes, 'refuse');
    forms.push({ name, bytes: once });
    forms.push({ name, bytes: await sign(once, 'append') });
  } catch (error) {
    if (!isRefused(error)) throw error;
  }
  return forms;
}

/** All seeds of a format: those above, and each signed once and twice. */
export async function seedsOf(format: FileFormat): Promise<Input[]> {
  const unsigned = UNSIGNED[format.name]?.() ?? [];
  const key = fuzzKey();
  const signed: Input[] = [];
  for (const each of unsigned) signed.push(...(await signedForms(format, each, key)));
  return [...unsigned, ...signed];
}

/** Zips that together have every structure. */
export function zipSeeds(): Input[] {
  const plain = forge(
    [
      { name: 'a.exe', content: buildPe().subarray(0, 700), localExtra: extra(0x5455, Buffer.alloc(5)) },
      { name: 'dir/', comment: 'c' },
      { name: 'dir/b', content: 'b', method: 0 },
      { name: 'dir/s', content: 'streamed '.repeat(40), flags: 0x808 },
    ],
    { comment: 'archive' },
  );
  return [named('a.zip', plain), named('wide.zip', forgeZip64())];
}
