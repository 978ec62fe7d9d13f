import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import {
  contentTypeOf,
  CONTENT_TYPES,
  readContentTypes,
  type ContentType,
} from '../../../lib/opc/content-types.ts';
import {
  isRelationships,
  readRelationships,
  relationshipsOf,
  type Relationship,
} from '../../../lib/opc/relationships.ts';
import type { ArchiveEntry } from '../../../lib/zip/local-headers.ts';
import type { Archive } from '../../../lib/zip/read-zip.ts';
import { ORIGIN, ORIGIN_TYPE, SIGNATURE, SIGNATURE_TYPE } from './names.ts';

/** A part of a package. */
export interface Part {
  /** With `/` before it. */
  readonly name: string;
  readonly entry: ArchiveEntry;
  readonly type: string;
}

/** The parts that hold the signature of a package. */
export interface SignatureParts {
  readonly origin: Part;
  readonly originRelationships: Part;
  readonly signature: Part;
}

/** An open package: its parts, and what it says about them. */
export interface VsixPackage {
  readonly archive: Archive;
  readonly contentTypes: ArchiveEntry;
  readonly types: readonly ContentType[];
  /** In the order of the zip. */
  readonly parts: readonly Part[];
  readonly relationships: readonly Relationship[];
  readonly signed: SignatureParts | null;
}

/** The part with the relationships of the package. */
export const ROOT_RELATIONSHIPS = relationshipsOf('');

/** Longest part that is read as a whole, in bytes. */
const MAX_XML = 16 * 1024 * 1024;

/** Characters that a part's name consists of (ECMA-376 part 2, 9.1.1.1); others have to be written as %XX, and these not. */
const NAME = /^(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+$/;

/** Whether a name writes a character as %XX that stands for itself, or a slash: readers take it for another name. */
const escapesNeedlessly = (name: string): boolean =>
  (name.match(/%../g) ?? []).some((each) =>
    /[A-Za-z0-9\-._~/\\]/.test(String.fromCharCode(Number.parseInt(each.slice(1), 16))),
  );

const badName = (what: string, path: string, why: string): SignpipeError =>
  invalid('vsix-part-name', `${what}: ${JSON.stringify(path.slice(0, 200))} ${why}`, {
    hint: 'readers of packages would not see this file, and no signature would cover it: pack the extension again without it',
  });

/** Reads the structure of a package; throws `vsix-…`, `opc-…`, `xml-…` and `zip-…`. */
export async function readPackage(archive: Archive): Promise<VsixPackage> {
  const { source, entries } = archive;
  const what = source.name;
  const contentTypes = entries.find(({ path }) => path === CONTENT_TYPES);
  if (!contentTypes) throw invalid('opc-content-types', `${what}: it has no ${CONTENT_TYPES}`);
  const types = readContentTypes(await readXml(archive, contentTypes), what);
  const parts = entries.filter((each) => each !== contentTypes).map((each) => partOf(each, types, what));
  const root = parts.find(({ name }) => name === ROOT_RELATIONSHIPS);
  const relationships = root ? readRelationships(await readXml(archive, root.entry), what) : [];
  const unsigned = { archive, contentTypes, types, parts, relationships };
  return { ...unsigned, signed: await findSignature(unsigned) };
}

/** The bytes of an entry that holds XML. */
export function readXml(archive: Archive, entry: ArchiveEntry): Promise<Buffer> {
  if (entry.size > MAX_XML)
    throw invalid('xml-too-large', `${archive.source.name}: ${entry.path}: ${entry.size} bytes of XML`);
  return archive.read(entry);
}

function partOf(entry: ArchiveEntry, types: readonly ContentType[], what: string): Part {
  const { path, otherPaths } = entry;
  const segments = path.split('/');
  if (entry.directory) throw badName(what, path, 'is a folder, which packages do not have');
  if (
    otherPaths.length > 0 ||
    !segments.every((each) => NAME.test(each) && !each.endsWith('.')) ||
    escapesNeedlessly(path)
  )
    throw badName(what, path, 'is not the name of a part');
  const name = `/${path}`;
  const type = contentTypeOf(types, name)?.type;
  if (type === undefined || !/^[\w.+-]+\/[\w.+-]+$/.test(type))
    throw invalid(
      'vsix-part-type',
      `${what}: ${name}: ${CONTENT_TYPES} gives it no content type, or none that is plain`,
    );
  return { name, entry, type };
}

/** The target of a relationship, without relative paths, of which readers make different things. */
const targetOf = ({ target }: Relationship): string => (target.startsWith('/') ? target : `/${target}`);

const isExternal = ({ mode }: Relationship): boolean => (mode ?? 'Internal') !== 'Internal';

/** The parts of the one signature; null if there is none. Throws `vsix-signature-parts` if there are others of the kind. */
async function findSignature({
  archive,
  parts,
  relationships,
}: Omit<VsixPackage, 'signed'>): Promise<SignatureParts | null> {
  const what = archive.source.name;
  const bad = (why: string): SignpipeError => invalid('vsix-signature-parts', `${what}: ${why}`);
  const origins = relationships.filter(({ type }) => type === ORIGIN);
  const kinds = parts.filter(({ type }) => type === ORIGIN_TYPE || type === SIGNATURE_TYPE);
  if (origins.length === 0 && kinds.length === 0) return null;
  const [origin, another] = origins;
  if (!origin || another) throw bad(`${origins.length} relationships lead to signatures, not one`);
  const named = (name: string): Part | undefined => parts.find((each) => each.name === name);
  const originPart = named(targetOf(origin));
  const listPart = originPart && named(relationshipsOf(originPart.name));
  if (!originPart || !listPart || originPart.type !== ORIGIN_TYPE)
    throw bad('the origin of its signatures is missing');
  if (originPart.entry.size > 0) throw bad('the origin of its signatures is not empty');
  const list = readRelationships(await readXml(archive, listPart.entry), `${what}: ${listPart.name}`);
  const [one] = list;
  const signature = one && named(targetOf(one));
  if (list.length !== 1 || one?.type !== SIGNATURE || isExternal(one) || isExternal(origin))
    throw bad(`its origin has ${list.length} relationships, not one to a signature`);
  if (!signature || signature.type !== SIGNATURE_TYPE) throw bad('its signature is missing');
  if (kinds.length !== 2) throw bad('it holds parts of signatures that belong to none');
  return { origin: originPart, originRelationships: listPart, signature };
}

/** The files of a package: parts that are no relationships, and not of its signature. */
export const contentOf = ({ parts, signed }: VsixPackage): Part[] =>
  parts.filter(
    (each) => !isRelationships(each.name) && each !== signed?.origin && each !== signed?.signature,
  );
