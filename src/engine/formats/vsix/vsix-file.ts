import { createHash } from 'node:crypto';
import type { DigestName, KnownDigest } from '../../../lib/asn1/oids.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { whole } from '../../../lib/bytes/concatenated-source.ts';
import { firstDifference } from '../../../lib/bytes/hash-and-compare.ts';
import type { PatchedSource } from '../../../lib/bytes/patched-source.ts';
import { oncePerKey } from '../../../lib/concurrency/once-per-key.ts';
import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import { writeContentTypes } from '../../../lib/opc/content-types.ts';
import { isRelationships, writeRelationships } from '../../../lib/opc/relationships.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { canonicalXml } from '../../../lib/xml/canonical-xml.ts';
import { parseXml } from '../../../lib/xml/parse-xml.ts';
import {
  dosTime,
  dosTimeOf,
  editEntries,
  entryToMove,
  usesZip64,
  zipOf,
} from '../../../lib/zip/edit-entries.ts';
import { DEFAULT_LIMITS, type ArchiveLimits } from '../../../lib/zip/limits.ts';
import type { Container } from '../container.ts';
import { ZipContainer } from '../zip-container.ts';
import type { ArchiveEntry } from '../../../lib/zip/local-headers.ts';
import { readArchive, requireAllOpenable } from '../../../lib/zip/read-zip.ts';
import type {
  ContentOptions,
  EmbedOptions,
  FileDigest,
  Finding,
  SignableFile,
  SignedContent,
} from '../signable-file.ts';
import { respelled, unusedTypes, zipFaults } from './entry-findings.ts';
import { packageDigest, writeReference, type Reference } from './manifest.ts';
import { newReferences } from './new-references.ts';
import { hasOneForm } from './one-form.ts';
import { DSIG, OPC_SIGNATURE, ORIGIN } from './names.ts';
import { opcScheme } from './opc-scheme.ts';
import { readOpcObject, readOpcSignature, timeText, writeOpcObject } from './read-signature.ts';
import { digestedFiles } from './manifest-json.ts';
import { requireSameParts } from './same-parts.ts';
import {
  addedEntries,
  addedParts,
  deflated,
  namesFor,
  readKept,
  type SignatureNames,
} from './signature-parts.ts';
import { readContent, referencesIn } from './signed-content.ts';
import {
  contentOf,
  readPackage,
  readXml,
  ROOT_RELATIONSHIPS,
  type Part,
  type VsixPackage,
} from './vsix-package.ts';

/** Opens an extension of Visual Studio; throws `vsix-…`, `opc-…`, `xml-…` or `zip-…`. */
export async function openVsix(source: ByteSource): Promise<VsixFile> {
  const archive = await readArchive(source, DEFAULT_LIMITS);
  if (usesZip64(archive))
    throw invalid('vsix-zip64', `${source.name}: a package in the zip64 format, which is not supported`);
  requireAllOpenable(
    source,
    archive.entries.filter(({ directory }) => !directory),
    DEFAULT_LIMITS,
  );
  const content = await readPackage(archive);
  const document = content.signed && (await readXml(archive, content.signed.signature.entry));
  return new VsixFile(content, document);
}

/** An open extension of Visual Studio: a package of the Open Packaging Conventions. */
export class VsixFile implements SignableFile {
  readonly format = 'vsix';
  readonly scheme = opcScheme;
  readonly source: ByteSource;
  readonly signatures: readonly Buffer[];
  readonly canNest = false;
  readonly unauthenticatedData: readonly Finding[];
  private names: SignatureNames | undefined;

  constructor(
    readonly content: VsixPackage,
    signature: Buffer | null,
  ) {
    this.source = content.archive.source;
    this.signatures = signature ? [signature] : [];
    this.unauthenticatedData = signature ? this.zipFindings() : [];
  }

  private zipFindings(): Finding[] {
    const { archive } = this.content;
    return zipFaults(archive).map((why) => ({ code: 'vsix-zip', message: `${this.source.name}: ${why}` }));
  }

  /** What lies in the zip around the parts would stay, and be found in the signed package. */
  requireSignable(): void {
    const [why] = zipFaults(this.content.archive);
    if (why !== undefined)
      throw invalid('vsix-zip', `${this.source.name}: ${why}`, { hint: 'pack the extension again' });
  }

  requireSigner({ publicKey }: Certificate, what: string): void {
    if (publicKey.asymmetricKeyType === 'rsa') return;
    throw invalid('vsix-key', `${what}: packages are signed with RSA keys only`, {
      hint: 'sign extensions with another certificate',
    });
  }

  async digest(hash: KnownDigest): Promise<Buffer> {
    const digests = await this.partDigests(hash);
    return packageDigest(
      [...digests].map(([{ name, type }, digest]) => ({ part: name, type, digest })),
      hash,
    );
  }

  private readonly partDigests = oncePerKey((hash: KnownDigest) => this.readParts(hash));

  private async readParts(hash: KnownDigest): Promise<ReadonlyMap<Part, Buffer>> {
    const digests = new Map<Part, Buffer>();
    for (const part of contentOf(this.content)) {
      const sum = createHash(hash);
      for await (const chunk of await this.content.archive.open(part.entry)) sum.update(chunk);
      digests.set(part, sum.digest());
    }
    return digests;
  }

  // --- signing -----------------------------------------------------------------------------

  async contentToSign(hash: DigestName, digest: Buffer, options: ContentOptions): Promise<SignedContent> {
    this.names = options.opc ?? namesFor(digest);
    const added = addedParts(this.content, this.names);
    const references = await newReferences(this.content, added, await this.partDigests(hash), hash);
    const time = options.opc?.time ?? timeText(options.signingTime ?? new Date());
    const object = writeOpcObject(references.map(writeReference), time);
    const root = parseXml(Buffer.from(`<Signature xmlns="${DSIG}">${object}</Signature>`), 'new signature');
    const element = root.documentElement?.firstChild as NonNullable<typeof root.documentElement>;
    return { type: OPC_SIGNATURE, der: Buffer.from(canonicalXml(element)) };
  }

  // --- verifying ---------------------------------------------------------------------------

  readContent(content: SignedContent, _signerHash: KnownDigest, what: string): FileDigest {
    return readContent(content, what);
  }

  /** Parts with relationships, and the origin: each has to be signed, and to be what was signed. */
  async requireStated(content: SignedContent, what: string): Promise<string> {
    const { signed, parts } = this.content;
    const references = new Map(referencesIn(content, what).map((each) => [each.part, each]));
    for (const part of parts.filter(({ name }) => isRelationships(name))) {
      const reference = references.get(part.name);
      // Its only relationship is known, and it has only one form: see `uncoveredFields`.
      if (!reference && part === signed?.originRelationships) continue;
      await this.requireReferenced(part, reference, what);
    }
    if (signed && references.has(signed.origin.name))
      await this.requireReferenced(signed.origin, references.get(signed.origin.name), what);
    const known = new Set(parts.map(({ name }) => name));
    for (const { part } of references.values())
      if (!known.has(part)) throw partDiffers(what, part, 'is missing');
    return 'relationships of its parts';
  }

  private async requireReferenced(part: Part, reference: Reference | undefined, what: string): Promise<void> {
    if (!reference) throw partDiffers(what, part.name, 'is not signed');
    const bytes = await readXml(this.content.archive, part.entry);
    const { hash, canonical, digest, type } = reference;
    const form = canonical ? canonicalXml(parseXml(bytes, `${what}: ${part.name}`)) : bytes;
    if (type !== part.type || !createHash(hash).update(form).digest().equals(digest))
      throw partDiffers(what, part.name, 'is not what was signed');
  }

  /** Documents of which not every byte is covered have to have only one form. */
  async uncoveredFields(): Promise<readonly Finding[]> {
    const { archive, contentTypes, parts, types, signed } = this.content;
    if (!signed) return [];
    const documents = [
      contentTypes,
      ...parts.filter(({ name }) => isRelationships(name)).map(({ entry }) => entry),
    ];
    const findings: Finding[] = [];
    const add = (message: string): void =>
      void findings.push({ code: 'vsix-form', message: `${this.source.name}: ${message}` });
    for (const entry of documents)
      if (!hasOneForm(await readXml(archive, entry), entry.path))
        add(`${entry.path} holds comments, other namespaces, or blanks that nothing needs`);
    const [unused] = unusedTypes(types, parts);
    if (unused) add(`[Content_Types].xml names the type of no part: ${unused.key.slice(0, 100)}`);
    const spelled = respelled(types, parts);
    const odd = types.find(({ key }, at) => spelled[at]?.key !== key);
    if (odd) add(`[Content_Types].xml spells ${odd.key.slice(0, 100)} otherwise than the part`);
    return findings;
  }

  // --- taking apart and putting together --------------------------------------------------------

  async embed(signature: Buffer, { time }: EmbedOptions = {}): Promise<PatchedSource> {
    const what = `${this.source.name}: signature`;
    const { object } = readOpcSignature(signature, what);
    const names = this.names ?? namesFor(readContent({ type: OPC_SIGNATURE, der: object }, what).digest);
    const at = dosTime(time ?? readOpcObject(object, what).signingTime);
    const added = addedEntries(this.content, addedParts(this.content, names), signature, at);
    return editEntries(this.content.archive, this.replaced(), added);
  }

  /** The entries that signing replaces. */
  private replaced(): ArchiveEntry[] {
    const { contentTypes, parts, signed } = this.content;
    const old = signed ? [signed.origin, signed.originRelationships, signed.signature] : [];
    return [
      contentTypes,
      ...parts
        .filter((each) => each.name === ROOT_RELATIONSHIPS || old.includes(each))
        .map(({ entry }) => entry),
    ];
  }

  /** A zip of the parts that signing replaces or adds, each as it lies in the signed package. */
  async detached(signature: Buffer, options: EmbedOptions = {}): Promise<Buffer> {
    const own = !options.time && !this.names && this.signatures[0]?.equals(signature);
    const file = own ? this : await openVsix(await this.embed(signature, options));
    const { archive } = file.content;
    const entries = file.replaced().sort((one, other) => one.offset - other.offset);
    return zipOf(await Promise.all(entries.map((each) => entryToMove(archive, each))));
  }

  async attach(kept: Buffer): Promise<PatchedSource> {
    const { archive } = await readKept(kept, `${this.source.name}: signature`);
    const entries = await Promise.all(archive.layout.map((each) => entryToMove(archive, each)));
    return editEntries(this.content.archive, this.replaced(), entries);
  }

  /** Its files; if it is signed, those of the package without its signature. */
  async container(limits: ArchiveLimits): Promise<Container> {
    const source = this.content.signed ? await this.remove() : this.source;
    const archive = await readArchive(source, limits);
    return new ZipContainer(archive, null, await digestedFiles(this.content));
  }

  /** The relationships and content types are written again, so other bytes may come out than there were before. */
  async remove(): Promise<PatchedSource> {
    const { archive, contentTypes, parts, relationships, signed, types } = this.content;
    if (!signed)
      throw invalid('not-signed', `${this.source.name}: it carries no signature that could be removed`);
    const replaced = this.replaced();
    const left = parts.filter(({ entry, name }) => !replaced.includes(entry) || name === ROOT_RELATIONSHIPS);
    const unused = new Set(unusedTypes(types, left));
    const root = left.find(({ name }) => name === ROOT_RELATIONSHIPS)?.entry ?? contentTypes;
    const others = relationships.filter(({ type }) => type !== ORIGIN);
    const at = dosTimeOf(root);
    return editEntries(archive, replaced, [
      deflated(ROOT_RELATIONSHIPS.slice(1), writeRelationships(others), at),
      deflated(contentTypes.path, writeContentTypes(types.filter((each) => !unused.has(each))), at),
    ]);
  }

  /** The parts that this package adds to the original, put into the original, have to give this package. */
  async requireSameContent(original: SignableFile): Promise<void> {
    const { name } = this.source;
    if (!(original instanceof VsixFile))
      throw invalid(
        'not-the-same-kind',
        `${name}: an extension of Visual Studio, ${original.source.name} is not`,
      );
    requireSameParts(original.content, this.content);
    const [finding] = await this.uncoveredFields();
    if (finding) throw invalid('strip-untidy', finding.message);
    const [signature] = this.signatures;
    if (!signature) return;
    const again = await original.attach(await this.detached(signature));
    if (
      again.size === this.source.size &&
      (await firstDifference([whole(again)], [whole(this.source)])) === undefined
    )
      return;
    throw invalid(
      'strip-body-differs',
      `${name}: it is not ${original.source.name} plus a signature: the zip around its parts differs`,
    );
  }
}

const partDiffers = (what: string, part: string, why: string): SignpipeError =>
  invalid('vsix-part-differs', `${what}: the part ${part.slice(0, 200)} ${why}`);
