import { usage, type SignpipeError } from '../../../lib/errors.ts';
import { printable } from '../../../lib/printable.ts';
import { PATH_READERS, QUERY_READERS, type Read, type Reader } from './uri-attributes.ts';
import { decodeValue, UriPartError } from './uri-values.ts';
import { encodeValue } from './write-uri.ts';

/** What a URI says about a token (RFC 7512, 2.3); what is undefined fits every token. */
export interface TokenSelection {
  readonly token?: string | undefined;
  readonly manufacturer?: string | undefined;
  readonly serial?: string | undefined;
  readonly model?: string | undefined;
  readonly slotId?: number | undefined;
  readonly slotDescription?: string | undefined;
  readonly slotManufacturer?: string | undefined;
}

/** What a URI says about the module itself, as a check that it is the expected one. */
export interface LibrarySelection {
  readonly manufacturer?: string | undefined;
  readonly description?: string | undefined;
  readonly version?: { readonly major: number; readonly minor: number } | undefined;
}

/** What a URI says about the private key; what is undefined fits every key. */
export interface KeySelection {
  readonly label?: string | undefined;
  readonly id?: Buffer | undefined;
}

/** Which module to load, and how. */
export interface ModuleOptions {
  /** The path of the module, or its name as `module-name` has it: without folder, `lib` and extension. */
  readonly module: { readonly path: string } | { readonly name: string };
  /** Environment variables that the module gets besides the usual ones. */
  readonly environment: readonly string[];
}

/** A PKCS#11 URI that names a private key. */
export interface Pkcs11Uri extends ModuleOptions {
  readonly tokenSelection: TokenSelection;
  readonly library: LibrarySelection;
  readonly keySelection: KeySelection;
  /** The file whose first line is the PIN. */
  readonly pinFile?: string | undefined;
  /** How many sessions sign at the same time. */
  readonly sessions?: number | undefined;
  /** The longest time for one call of the module, in ms. */
  readonly callMs?: number | undefined;
}

/** In characters. */
const MAX_URI = 4096;

const uriError = (message: string, hint?: string): SignpipeError =>
  usage('pkcs11-uri', `the PKCS#11 URI is wrong: ${message}`, {
    hint: hint ?? 'write pkcs11:token=LABEL;object=LABEL?module-path=FILE&pin-source=file:FILE (RFC 7512)',
  });

/** Throws `pkcs11-uri` for a PIN in the URI: configuration files are copied, backed up and shown. */
function refusePin(uri: string): void {
  if (/pin-value/i.test(uri))
    throw uriError('pin-value is not accepted', 'put the PIN into a file and write pin-source=file:FILE');
}

/** One `name=value` of a URI, as it is written. */
interface Attribute {
  readonly name: string;
  readonly value: string;
}

interface UriParts {
  readonly path: readonly Attribute[];
  /** Undefined if there is no `?`. */
  readonly query: readonly Attribute[] | undefined;
}

function splitAttributes(text: string, separator: ';' | '&'): Attribute[] {
  if (text === '') return [];
  return text.split(separator).map((attribute) => {
    const at = attribute.indexOf('=');
    const name = at < 0 ? attribute : attribute.slice(0, at);
    if (name === '' || at < 0)
      throw uriError(
        attribute === ''
          ? `there is nothing between two "${separator}", or after the last`
          : `${printable(name, 40)}: there must be a name, "=" and a value`,
      );
    return { name, value: attribute.slice(at + 1) };
  });
}

function splitUri(uri: string): UriParts {
  if (uri.length > MAX_URI) throw uriError(`it has more than ${MAX_URI} characters`);
  refusePin(uri);
  const text = uri.slice(uri.indexOf(':') + 1);
  const at = text.indexOf('?');
  return {
    path: splitAttributes(at < 0 ? text : text.slice(0, at), ';'),
    query: at < 0 ? undefined : splitAttributes(text.slice(at + 1), '&'),
  };
}

/** Explains why a name is unknown here: another part of the URI, another case, or none at all. */
function unknownName(name: string, own: object, other: object, place: string): SignpipeError {
  if (Object.hasOwn(other, name))
    return uriError(
      place === 'path'
        ? `${name} belongs behind the "?", with "&" between attributes`
        : `${name} belongs before the "?", with ";" between attributes`,
    );
  return uriError(
    `${printable(name, 40)} is unknown`,
    `the attributes of the ${place} are ${Object.keys(own).join(', ')}`,
  );
}

/** Throws `pkcs11-uri` if a value goes on with another attribute, after the separator of the other part of the URI. */
function refuseWrongSeparator(value: string, known: object, place: 'path' | 'query'): void {
  const [, separator, name = ''] = /([&;])([a-z-]+)=/.exec(value) ?? [];
  const right = place === 'path' ? ';' : '&';
  if (separator === right || !Object.hasOwn(known, name)) return;
  throw uriError(
    `there must be "${right}" before ${name}=, and not "${separator}"`,
    'attributes are separated by ";" before the "?", and by "&" behind it',
  );
}

/** An attribute in a message; no pin-source that names neither file nor command, since it may be the PIN itself. */
const shownAttribute = (name: string, value: string): string =>
  name === 'pin-source' && !/^file:|[/|]/.test(value) ? name : `${name}=${printable(value, 100)}`;

function readAttributes<R extends Record<string, Reader>>(
  attributes: readonly Attribute[],
  readers: R,
  other: Record<string, Reader>,
  place: 'path' | 'query',
): Read<R> {
  const read: Record<string, unknown> = {};
  for (const { name, value } of attributes) {
    const reader = Object.hasOwn(readers, name) ? readers[name] : undefined;
    if (!reader) throw unknownName(name, readers, other, place);
    if (Object.hasOwn(read, name)) throw uriError(`${name} is given twice`);
    refuseWrongSeparator(value, { ...readers, ...other }, place);
    try {
      read[name] = reader(decodeValue(value, place));
    } catch (error) {
      if (!(error instanceof UriPartError)) throw error;
      throw uriError(`${shownAttribute(name, value)}: ${error.message}`);
    }
  }
  return read as Read<R>;
}

function moduleOf(query: Read<typeof QUERY_READERS>): ModuleOptions['module'] {
  const { 'module-path': path, 'module-name': name } = query;
  if (path !== undefined && name !== undefined)
    throw uriError('module-path and module-name are both given', 'leave one of them out');
  if (path !== undefined) return { path };
  if (name !== undefined) return { name };
  throw uriError('no module is named', 'add ?module-path=FILE, the PKCS#11 module of the token');
}

/**
 * Parses a PKCS#11 URI (RFC 7512) that names a private key; reads no file. Throws `pkcs11-uri` (usage), whose message
 * has the part that is wrong, but no PIN.
 */
export function parsePkcs11Uri(uri: string): Pkcs11Uri {
  const parts = splitUri(uri);
  const path = readAttributes(parts.path, PATH_READERS, QUERY_READERS, 'path');
  const query = readAttributes(parts.query ?? [], QUERY_READERS, PATH_READERS, 'query');
  const timeout = query['x-timeout'];
  return {
    tokenSelection: {
      token: path.token,
      manufacturer: path.manufacturer,
      serial: path.serial,
      model: path.model,
      slotId: path['slot-id'],
      slotDescription: path['slot-description'],
      slotManufacturer: path['slot-manufacturer'],
    },
    library: {
      manufacturer: path['library-manufacturer'],
      description: path['library-description'],
      version: path['library-version'],
    },
    keySelection: { label: path.object, id: path.id },
    module: moduleOf(query),
    pinFile: query['pin-source'],
    sessions: query['x-sessions'],
    callMs: timeout === undefined ? undefined : timeout * 1000,
    environment: query['x-environment'] ?? [],
  };
}

/** Makes the paths of module and PIN file absolute; the rest of the URI stays as it is written. */
export function resolvePkcs11Uri(uri: string, resolvePath: (path: string) => string): string {
  const { module, pinFile } = parsePkcs11Uri(uri);
  const resolved = new Map<string, string>();
  if ('path' in module) resolved.set('module-path', encodeValue(resolvePath(module.path)));
  if (pinFile !== undefined) resolved.set('pin-source', `file:${encodeValue(resolvePath(pinFile))}`);
  const [path] = uri.split('?', 1);
  const query = (splitUri(uri).query ?? []).map(
    ({ name, value }) => `${name}=${resolved.get(name) ?? value}`,
  );
  return `${path}?${query.join('&')}`;
}
