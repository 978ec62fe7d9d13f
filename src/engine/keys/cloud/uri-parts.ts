import { usage, type SignpipeError } from '../../../lib/errors.ts';
import { printable } from '../../../lib/printable.ts';

/** A kind of URI, for messages: its scheme and what a URI looks like. */
export interface UriKind {
  readonly scheme: string;
  /** The end of a hint: `write …`. */
  readonly forms: string;
}

/** Longer than any URI with names of the longest kind. */
const MAX_URI = 1000;
const MAX_SHOWN = 60;

/** The error for a URI. It never shows the whole URI, which could hold a secret that has no place there. */
export const badUri = ({ scheme, forms }: UriKind, problem: string): SignpipeError =>
  usage('key-uri', `${scheme}: ${problem}`, { hint: `write ${forms}` });

/** Returns a part that matches a pattern; `rule` says what the part has to be, as in `is not …`. */
export function takePart(
  kind: UriKind,
  name: string,
  value: string | undefined,
  pattern: RegExp,
  rule: string,
): string {
  if (value === undefined || value === '') throw badUri(kind, `${name} is missing`);
  if (pattern.test(value)) return value;
  throw badUri(kind, `${name} "${printable(value, MAX_SHOWN)}" is not ${rule}`);
}

const HOST = /^(?:[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})*|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i;

/** Returns a host with an optional port. */
export function takeHost(kind: UriKind, value: string): string {
  if (value.includes('@')) throw badUri(kind, 'the host has a user or a password in front of it');
  const host = takePart(kind, 'the host', value, HOST, 'HOST or HOST:PORT');
  const [, port] = /:(\d+)$/.exec(host) ?? [];
  const isPort = port === undefined || (Number(port) >= 1 && Number(port) <= 65_535);
  if (!isPort) throw badUri(kind, `the port of the host "${host}" is not valid`);
  if (!URL.canParse(`https://${host}`)) throw badUri(kind, `the host "${host}" is not valid`);
  return host;
}

/** Whether a host is one by its form; a single word is more likely something else that is at the wrong place. */
export const looksLikeHost = (host: string): boolean => /[.:]|^localhost$/.test(host);

/** Whether a host is this machine: an emulator. */
export const isLoopback = (host: string): boolean =>
  /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i.test(host);

/** What follows the scheme. Refuses what no URI of these kinds has: a fragment, percent-encoding, hidden characters. */
export function afterScheme(kind: UriKind, uri: string): string {
  if (uri.length > MAX_URI) throw badUri(kind, `the URI has more than ${MAX_URI} characters`);
  const rest = uri.slice(uri.indexOf(':') + 1);
  const odd = /[^!-~]|[%#\\]/.exec(rest)?.[0];
  if (odd !== undefined) throw badUri(kind, `the URI has the character "${printable(odd)}"`);
  return rest;
}

/**
 * The attributes of a URI as step writes them, `NAME=VALUE;NAME=VALUE?NAME=VALUE`. Refuses unknown and repeated names.
 */
export function readAttributes(kind: UriKind, rest: string, known: readonly string[]): Map<string, string> {
  if (!rest.includes('=')) throw badUri(kind, 'there is neither // nor NAME=VALUE after the scheme');
  if (/[;?&]$/.test(rest)) throw badUri(kind, `there is a "${rest.slice(-1)}" after the last attribute`);
  const attributes = new Map<string, string>();
  for (const pair of rest.split(/[;?&]/)) {
    if (pair === '') throw badUri(kind, 'an attribute is empty');
    const [name = '', ...value] = pair.split('=');
    if (!known.includes(name))
      throw badUri(kind, `the attribute "${printable(name, MAX_SHOWN)}" is not one of ${known.join(', ')}`);
    if (attributes.has(name)) throw badUri(kind, `the attribute ${name} is there twice`);
    attributes.set(name, value.join('='));
  }
  return attributes;
}
