import { userInfo } from 'node:os';
import { usage } from '../errors.ts';

/** The host and account to log in to. */
export interface SshTarget {
  /** A name or an address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
}

/** A target and a path on it. */
export interface SshLocation extends SshTarget {
  readonly scheme: 'ssh' | 'sftp' | 'scp';
  /** Absolute, or relative to the user's home when the url began with `/~/`; percent-decoded. */
  readonly path: string;
}

const HOST = /^[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})$/;
const IPV6 = /^\[([0-9A-Fa-f:.]+)\]$/;
const USER = /^[A-Za-z0-9_][A-Za-z0-9._@+-]{0,63}$/;
// eslint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROL = /[\x00-\x1f\x7f]/;

/** The error `ssh-url-invalid`; it never quotes the url, which may hold a password. */
const invalidUrl = (why: string): Error =>
  usage('ssh-url-invalid', `the SSH url is wrong: ${why}`, {
    hint: 'write it as sftp://user@host:port/absolute/path (or ssh://, scp://); /~/path is relative to the home folder',
  });

function decode(text: string, what: string): string {
  try {
    const decoded = decodeURIComponent(text);
    if (!CONTROL.test(decoded)) return decoded;
  } catch {
    // Refused below.
  }
  throw invalidUrl(`its ${what} holds a bad escape or a control character`);
}

function parse(url: string): URL {
  try {
    return new URL(url);
  } catch {
    throw invalidUrl('it cannot be parsed');
  }
}

function hostOf(url: URL): string {
  const host = IPV6.exec(url.hostname)?.[1] ?? url.hostname;
  if (!IPV6.test(url.hostname) && !HOST.test(host)) throw invalidUrl('it names no valid host');
  return host.toLowerCase();
}

function userOf(url: URL): string {
  if (url.password !== '')
    throw usage('ssh-url-password', `the SSH url for ${url.hostname} holds a password`, {
      hint: 'remove it, and log in with a key (ssh.identity)',
    });
  const user = url.username === '' ? userInfo().username : decode(url.username, 'user name');
  if (!USER.test(user)) throw invalidUrl('its user name has characters that are not allowed');
  return user;
}

/** Parses an `ssh://`, `sftp://` or `scp://` url; throws `ssh-url-invalid`, `ssh-url-password` (usage). */
export function parseSshUrl(url: string): SshLocation {
  const parsed = parse(url);
  const scheme = parsed.protocol.slice(0, -1);
  if (scheme !== 'ssh' && scheme !== 'sftp' && scheme !== 'scp')
    throw invalidUrl('it must begin with ssh://, sftp:// or scp://');
  if (parsed.search !== '' || parsed.hash !== '') throw invalidUrl('it holds a query or a fragment');
  const path = decode(parsed.pathname, 'path')
    .replace(/^\/~\//, '')
    .replace(/^\/~$/, '.');
  return {
    scheme,
    host: hostOf(parsed),
    port: parsed.port === '' ? 22 : Number(parsed.port),
    user: userOf(parsed),
    path: path === '' ? '/' : path,
  };
}
