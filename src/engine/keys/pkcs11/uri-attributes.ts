/** The attributes of a PKCS#11 URI (RFC 7512, 2.3), and what their values may be. */

import { readNumber, readText, readVersion, UriPartError } from './uri-values.ts';

/** The most sessions that one key uses. */
export const MAX_SESSIONS = 64;
const MAX_CALL_SECONDS = 600;
const MAX_VARIABLES = 32;

/** Decodes the value of an attribute. Throws UriPartError. */
export type Reader = (value: Buffer) => unknown;

/** The attributes of the path; numbers are the most bytes that the field of the token can hold. */
export const PATH_READERS = {
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
export const QUERY_READERS = {
  'module-path': (value) => readText(value, 1024),
  'module-name': readModuleName,
  'pin-source': readPinSource,
  'x-sessions': (value) => readNumber(value, 1, MAX_SESSIONS),
  'x-timeout': (value) => readNumber(value, 1, MAX_CALL_SECONDS),
  'x-environment': readVariables,
} as const satisfies Record<string, Reader>;

/** What the readers of a part of the URI return, by name. */
export type Read<R extends Record<string, Reader>> = { readonly [Name in keyof R]?: ReturnType<R[Name]> };

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
