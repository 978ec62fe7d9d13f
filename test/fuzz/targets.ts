/** What is fuzzed: every format, and the libraries that read what others wrote. */
import { fileKindOf, openSignableFile } from '../../src/engine/formats/recognize.ts';
import { pe } from '../../src/engine/formats/pe/pe-file.ts';
import { FORMATS } from '../../src/engine/formats/registry.ts';
import type { FileFormat } from '../../src/engine/formats/signable-file.ts';
import { parseToken } from '../../src/engine/timestamp/token/token.ts';
import { children, parseDer, type Der } from '../../src/lib/asn1/der.ts';
import { BufferSource } from '../../src/lib/bytes/byte-source.ts';
import { openCompoundFile, streamsIn } from '../../src/lib/compound-file/compound-file.ts';
import { parseSignedData } from '../../src/lib/cms/signed-data.ts';
import { Certificate } from '../../src/lib/x509/certificate.ts';
import { childElements, parseXml } from '../../src/lib/xml/parse-xml.ts';
import { readArchive } from '../../src/lib/zip/read-zip.ts';
import { exerciseFormat, LIMITS, type Input } from './exercise.ts';
import { mutateBytes } from './mutate-bytes.ts';
import { mutateDer } from './mutate-der.ts';
import { mutateZip } from './mutate-zip.ts';
import type { Outcome } from './outcome.ts';
import type { Random } from './random.ts';
import { compoundFiles, seedsOf, zipSeeds } from './seeds.ts';
import { fuzzKey } from './fuzz-key.ts';

export interface FuzzTarget {
  readonly name: string;
  seeds(): Promise<readonly Input[]>;
  /** Another input, made of one of the kept ones; `other` gives parts to insert. */
  mutate(origin: Input, other: Input, random: Random): Promise<Buffer> | Buffer;
  /** Throws only if there is a fault in the program. */
  run(input: Input, outcome: Outcome): Promise<void>;
}

/** The file with a changed signature in a sound container; null if it has none. */
async function withChangedSignature(
  format: FileFormat,
  origin: Input,
  random: Random,
): Promise<Buffer | null> {
  try {
    const file = await format.open(new BufferSource(origin.bytes, origin.name));
    const changed = file.signatures[0] && mutateDer(file.signatures[0], random);
    if (!changed) return null;
    const content = await file.embed(changed);
    return await content.read(0, content.size);
  } catch {
    return null; // The container is broken already: other changes have to do.
  }
}

/** The bytes as they are, or as the content of an entry. */
const general = (origin: Input, other: Input, random: Random): Buffer =>
  (random.chance(0.5) ? mutateZip(origin.bytes, random) : null) ??
  mutateBytes(origin.bytes, other.bytes, random);

const formatTarget = (format: FileFormat): FuzzTarget => ({
  name: format.name,
  seeds: () => seedsOf(format),
  mutate: async (origin, other, random) =>
    (random.chance(0.25) ? await withChangedSignature(format, origin, random) : null) ??
    general(origin, other, random),
  run: (input, outcome) => exerciseFormat(format, input, outcome),
});

const zip: FuzzTarget = {
  name: 'zip',
  seeds: () => Promise.resolve(zipSeeds()),
  mutate: general,
  run: async ({ bytes, name }, outcome) => {
    const archive = await outcome.step('open', () => readArchive(new BufferSource(bytes, name), LIMITS));
    for (const entry of archive?.entries ?? [])
      await outcome.step('entry', async () => {
        for await (const chunk of (await archive?.open(entry)) ?? [])
          outcome.note(chunk.length > 0 ? '+' : '0');
      });
  },
};

const compoundFile: FuzzTarget = {
  name: 'compound-file',
  seeds: () => Promise.resolve(compoundFiles()),
  mutate: general,
  run: async ({ bytes, name }, outcome) => {
    const file = await outcome.step('open', () => openCompoundFile(new BufferSource(bytes, name)));
    for (const stream of file ? streamsIn(file.root) : [])
      await outcome.step('stream', async () => {
        const content = file?.openStream(stream);
        await content?.read(0, Math.min(content.size, LIMITS.entry));
      });
  },
};

const XML = [
  '<?xml version="1.0" encoding="utf-8"?>\r\n<Types xmlns="a"><Default Extension="x" ContentType="y"/></Types>',
  '\ufeff<a b="&amp;&#x41;" xmlns:c="d"><c:e><!-- f --><![CDATA[g]]></c:e></a>',
];

const xml: FuzzTarget = {
  name: 'xml',
  seeds: () => Promise.resolve(XML.map((text) => ({ name: 'a.xml', bytes: Buffer.from(text) }))),
  mutate: (origin, other, random) => mutateBytes(origin.bytes, other.bytes, random),
  run: async ({ bytes }, outcome) => {
    await outcome.step('parse', () => childElements(parseXml(bytes, 'it')).length);
  },
};

/** Any file as the commands open it, under the name that it claims. */
const recognition: FuzzTarget = {
  name: 'recognize',
  seeds: async () => (await Promise.all(FORMATS.map(seedsOf))).flat(),
  mutate: general,
  run: async ({ bytes, name }, outcome) => {
    await outcome.step('kind', async () =>
      outcome.note(String(await fileKindOf(new BufferSource(bytes, name)))),
    );
    await outcome.step('open', () => openSignableFile(new BufferSource(bytes, name)));
  },
};

function walk(der: Der, depth = 0): number {
  const constructed = (der.tag & 0x20) !== 0 && depth < 64;
  return 1 + (constructed ? children(der, 'it').reduce((sum, each) => sum + walk(each, depth + 1), 0) : 0);
}

/** A parser of DER. */
const derTarget = (
  name: string,
  seeds: () => Promise<readonly Buffer[]>,
  parse: (bytes: Buffer) => unknown,
): FuzzTarget => ({
  name,
  seeds: async () => (await seeds()).map((bytes, index) => ({ name: `${index}.der`, bytes })),
  mutate: (origin, other, random) =>
    (random.chance(0.7) ? mutateDer(origin.bytes, random) : null) ??
    mutateBytes(origin.bytes, other.bytes, random),
  run: async ({ bytes }, outcome) => {
    await outcome.step('parse', () => parse(bytes));
  },
});

async function signaturesOfSeeds(): Promise<Buffer[]> {
  const found: Buffer[] = [];
  for (const { name, bytes } of await seedsOf(pe))
    found.push(...(await pe.open(new BufferSource(bytes, name))).signatures);
  return found;
}

const certificates = (): Promise<Buffer[]> =>
  Promise.resolve(fuzzKey().certificates.map(({ x509 }) => Buffer.from(x509.raw)));

export const TARGETS: readonly FuzzTarget[] = [
  ...FORMATS.map(formatTarget),
  recognition,
  zip,
  compoundFile,
  xml,
  derTarget('der', signaturesOfSeeds, (bytes) => walk(parseDer(bytes, 'it'))),
  derTarget('cms', signaturesOfSeeds, (bytes) => parseSignedData(bytes, 'it')),
  derTarget('token', signaturesOfSeeds, (bytes) => parseToken(parseDer(bytes, 'it'), 'it')),
  derTarget('certificate', certificates, (bytes) => Certificate.parse(bytes, 'it')),
];
