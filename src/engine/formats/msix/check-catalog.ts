import { children, context, DerReader, readOctets, readOid, readTime, TAG } from '../../../lib/asn1/der.ts';
import { invalid, messageOf, SignpipeError } from '../../../lib/errors.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import type { ReadSignature } from '../signature-scheme.ts';
import { authenticode } from '../../authenticode/cms-scheme.ts';
import type { SignedContent } from '../signable-file.ts';
import { OID } from '../../../lib/asn1/oids.ts';
import { buildCatalog } from './code-integrity.ts';
import { packageFullName, type Identity } from './manifest.ts';
import type { MsixPackage } from './package.ts';
import { programsIn } from './programs.ts';

/** A catalog of programs as far as it is compared. */
interface Catalog {
  readonly listId: Buffer;
  readonly time: Date;
  /** Digests of programs, lower-case hex. */
  readonly tags: ReadonlySet<string>;
}

const faulty = (what: string, why: string): SignpipeError =>
  invalid('msix-catalog', `${what}: its AppxMetadata/CodeIntegrity.cat ${why}`);

/** Reads a trust list that names programs; throws `msix-catalog` and `der-malformed`. */
export function readCatalog({ type, der }: SignedContent, what: string): Catalog {
  if (type !== OID.ctl) throw faulty(what, 'is not a catalog');
  const list = DerReader.of(der, what);
  const usage = new DerReader(list.next(TAG.sequence), what);
  if (readOid(usage.next(), what) !== OID.catalogList) throw faulty(what, 'is a list of something else');
  usage.end();
  const listId = readOctets(list.next(), what);
  const time = readTime(list.next(), what);
  list.next(TAG.sequence);
  const entries = children(list.next(TAG.sequence), what);
  list.optional(context(0));
  list.end();
  const tags = entries.map((entry) => readOctets(new DerReader(entry, what).next(), what).toString('hex'));
  return { listId, time, tags: new Set(tags) };
}

/**
 * Requires of a catalog of programs, if there is one, that it is signed by the signer of the package, and that it names all
 * programs of the package and nothing else. Throws `msix-catalog`, `cms-…` and `der-malformed`.
 */
export async function requireMatchingCatalog(
  pkg: MsixPackage,
  catalog: Buffer | null,
  signature: Buffer | undefined,
): Promise<void> {
  if (!catalog || !signature) return;
  const what = pkg.source.name;
  const content = requireSigned(catalog, signature, what);
  const { tags } = readCatalog(content, what);
  const programs = await programsIn(pkg);
  for (const { name, sha256, sha1 } of programs)
    if (!tags.has(sha256.toString('hex')) && !tags.has(sha1.toString('hex')))
      throw faulty(what, `does not name "${name}"`);
  const known = new Set(
    programs.flatMap(({ sha256, sha1 }) => [sha256, sha1].map((each) => each.toString('hex'))),
  );
  for (const tag of tags)
    if (!known.has(tag)) throw faulty(what, `names a program that is not there: ${tag}`);
}

/** OpenSSL refuses some keys with an error of its own. */
function requireValue(signed: ReadSignature, certificate: Certificate, what: string): void {
  try {
    signed.requireValue(certificate.publicKey, what);
  } catch (error) {
    if (error instanceof SignpipeError) throw error;
    throw invalid('cms-signature-wrong', `${what}: cannot be checked: ${messageOf(error)}`, { cause: error });
  }
}

/** The content of a catalog, if its signature verifies and is by the signer of the package. */
function requireSigned(catalog: Buffer, signature: Buffer, what: string): SignedContent {
  const label = `${what}: AppxMetadata/CodeIntegrity.cat`;
  const signed = authenticode.read(catalog, label);
  signed.requireContent(label);
  const { certificate, content } = signed;
  if (!certificate) throw faulty(what, "does not include its signer's certificate");
  requireValue(signed, certificate, label);
  const signer = authenticode.read(signature, what).certificate;
  if (!signer?.subjectDer.equals(certificate.subjectDer))
    throw faulty(
      what,
      `is signed by ${certificate.subject}, the package by ${signer?.subject ?? 'an unknown signer'}`,
    );
  return content;
}

/**
 * Requires that a catalog is the one that signing makes of these programs, with any id and time, and that it carries nothing
 * that its signature does not cover. Throws as `requireMatchingCatalog` does.
 */
export async function requireOwnCatalog(
  pkg: MsixPackage,
  catalog: Buffer,
  identity: Identity,
): Promise<void> {
  const what = pkg.source.name;
  const signed = authenticode.read(catalog, what);
  const { listId, time } = readCatalog(signed.content, what);
  const about = { fullName: packageFullName(identity), time, listId };
  const expected = buildCatalog(await programsIn(pkg), about);
  if (listId.length !== 16 || !expected.der.equals(signed.content.der))
    throw faulty(what, 'is not the one that signing makes of its programs');
  const scope = { certificates: true, timestamps: true, roots: null, timestampRoots: null };
  const [finding] = signed.findings({ index: 0, nested: false }, scope);
  if (finding) throw faulty(what, `holds more than it needs: ${finding.message}`);
}
