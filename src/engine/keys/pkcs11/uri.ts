import { usage, type SignpipeError } from '../../../lib/errors.ts';
import { printable } from '../../../lib/printable.ts';
import { decodeValue, readNumber, readText, readVersion, UriPartError } from './uri-values.ts';

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

const MAX_CALL_SECONDS = 600;
/** The most sessions that one key uses. */
export const MAX_SESSIONS = 64;
const MAX_VARIABLES = 32;

type Reader = (value: Buffer) => unknown;

/** The attributes of the path; numbers are the most bytes that the field of the token can hold. */
const PATH_READERS = {
  token: (value) => readText(value, 32),
  manufacturer: (value) => readText(value, 32),
  serial: (value) => readText(value, 16),
  model: (value) => readText(value, 16),
  object: (value) => readText(value, 256),
  id: readId,
  type: readType,
  'slot-id': (value) => readNumber(value, 0, Number.MAX_SAFE_INTEGER),
  'slot-description': (value) => readText(value, 64),
  'slot-manufacturer': (value) => readText(value, 32),
  'library-manufacturer': (value) => readText(value, 32),
  'library-description': (value) => readText(value, 32),
  'library-version': readVersion,
} as const satisfies Record<string, Reader>;

/** The attributes of the query; those that begin with `x-` are signpipe's own. */
const QUERY_READERS = {
  'module-path': (value) => readText(value, 1024),
  'module-name': readModuleName,
  'pin-source': readPinSource,
  'x-sessions': (value) => readNumber(value, 1, MAX_SESSIONS),
  'x-timeout': (value) => readNumber(value, 1, MAX_CALL_SECONDS),
  'x-environment': readVariables,
} as const satisfies Record<string, Reader>;

type Read<R extends Record<string, Reader>> = { readonly [Name in keyof R]?: ReturnType<R[Name]> };

function readId(value: Buffer): Buffer {
  if (value.length === 0 || value.length > 256) throw new UriPartError('must have 1 to 256 bytes');
  return value;
}

function readType(value: Buffer): 'private' {
  if (readText(value, 16) === 'private') return 'private';
  throw new UriPartError('must be private: only a private key signs');
}

function readModuleName(value: Buffer): string {
  const name = readText(value, 128);
  if (/^[\w.+-]+$/.test(name) && !name.startsWith('.')) return name;
  throw new UriPartError('must be a name such as softhsm2; for a path write module-path=');
}

/** The path of a PIN file: `file:keys/pin`, `file:/etc/pin` or `file:///etc/pin` (RFC 8089). */
function readPinSource(value: Buffer): string {
  const source = readText(value, 1024);
  if (source.startsWith('|')) throw new UriPartError('must be a file: no command is run for a PIN');
  const path = /^file:(.+)$/.exec(source)?.[1];
  if (path === undefined) throw new UriPartError('must be file: and the path of a file');
  if (!path.startsWith('//')) return path;
  const host = path.slice(2, path.indexOf('/', 2));
  if (path.startsWith('///') && !path.startsWith('////')) return path.slice(2);
  if (host === 'localhost' && path.length > '//localhost/'.length) return path.slice('//localhost'.length);
  throw new UriPartError('must be a file of this machine: file:PATH or file:///PATH');
}

/** Names of environment variables, separated by commas. */
function readVariables(value: Buffer): string[] {
  const names = readText(value, 1024).split(',');
  if (names.length > MAX_VARIABLES) throw new UriPartError(`names more than ${MAX_VARIABLES} variables`);
  for (const name of names)
    if (!/^[A-Za-z_]\w*$/.test(name) || /^(?:SIGNPIPE_|NODE_)/i.test(name))
      throw new UriPartError('must be names of variables that the module reads, separated by commas');
  return names;
}

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
    try {
      read[name] = reader(decodeValue(value, place));
    } catch (error) {
      if (!(error instanceof UriPartError)) throw error;
      throw uriError(`${name}=${printable(value, 100)}: ${error.message}`);
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

/** Characters that a value of a query may hold as they are, and that no path of a file needs escaped. */
const PLAIN = /[A-Za-z0-9._~/:@+,-]/;

/** Encodes a value of an attribute; every byte that is not plain is percent-encoded. */
export const encodeValue = (value: string | Buffer): string =>
  [...Buffer.from(value as string)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return PLAIN.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    })
    .join('');

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
