import type { SshPublicKey } from './public-key.ts';
import { isKeyName, parsePublicKeyLine } from './ssh-key.ts';

/** One line of an allowed signers file. */
export interface AllowedSigner {
  /** Counted from 1. */
  readonly line: number;
  /** A pattern list; a leading `!` negates. */
  readonly principals: readonly string[];
  readonly key: SshPublicKey;
  /** Whether the key certifies other keys instead of signing commits itself. */
  readonly certAuthority: boolean;
  /** A pattern list of signature namespaces; null permits all. */
  readonly namespaces: readonly string[] | null;
  /** The key is valid from `validAfter` to `validBefore`, both included. */
  readonly validAfter: Date | null;
  readonly validBefore: Date | null;
  /** Whether a security key may sign without being touched: signpipe's addition to the format. */
  readonly noTouchRequired: boolean;
}

type Options = Omit<AllowedSigner, 'line' | 'principals' | 'key'>;

/** A problem in a line; the parser of the file adds the line's number. */
export class LineError extends Error {}

const TIME = /^(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(z|utc)?$/i;

/** `YYYYMMDD[Z]` or `YYYYMMDDHHMM[SS][Z]`: local time unless it ends in `Z`. Undefined for a date that does not exist. */
export function parseAbsoluteTime(text: string): Date | undefined {
  const match = TIME.exec(text);
  if (!match) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match
    .slice(1, 7)
    .map((digits) => Number(digits ?? 0));
  const calendar = new Date(Date.UTC(year, month - 1, day, hour, minute, second));
  const written = [year, month - 1, day, hour, minute, second];
  const read = [
    calendar.getUTCFullYear(),
    calendar.getUTCMonth(),
    calendar.getUTCDate(),
    calendar.getUTCHours(),
    calendar.getUTCMinutes(),
    calendar.getUTCSeconds(),
  ];
  if (year < 1970 || written.some((part, index) => part !== read[index])) return undefined;
  return match[7] === undefined ? new Date(year, month - 1, day, hour, minute, second) : calendar;
}

/** Splits at the first blank outside quotes: the first word and the rest. */
function cutWord(text: string): [string, string] {
  const word = /^(?:"(?:\\"|[^"])*"|[^\s"])+/.exec(text)?.[0] ?? '';
  const rest = text.slice(word.length);
  if (word === '' || !/^[ \t]/.test(rest)) throw new LineError('has an unfinished quote or lacks a key');
  return [word, rest.replace(/^[ \t]+/, '')];
}

/** Parses the principals, which may be quoted as a whole so that they can contain blanks. */
function parsePrincipals(word: string): string[] {
  const quoted = /^"([^"]*)"$/.exec(word)?.[1];
  if (quoted === undefined && word.includes('"')) throw new LineError('has a quote inside its principals');
  return parseList(quoted ?? word, 'principals');
}

function parseList(text: string, what: string): string[] {
  const patterns = text.split(',');
  if (patterns.some((pattern) => pattern === '' || pattern === '!'))
    throw new LineError(`has an empty item in its ${what}`);
  if (patterns.every((pattern) => pattern.startsWith('!')))
    throw new LineError(`has only negated ${what}, which match nothing`);
  return patterns;
}

function parseTime(name: string, value: string): Date {
  const time = parseAbsoluteTime(value);
  if (!time) throw new LineError(`has ${name}="${value}", which is not YYYYMMDD[Z] or YYYYMMDDHHMM[SS][Z]`);
  return time;
}

function parseOptions(word: string): Options {
  const values = new Map<string, string>();
  let rest = word;
  while (rest !== '') {
    const match = /^([a-z-]+)(?:="((?:\\"|[^"])*)")?(?:,(?=.)|$)/i.exec(rest);
    if (!match) throw new LineError(`has options that cannot be read: ${rest}`);
    const [whole, name = '', value] = match;
    addOption(values, name.toLowerCase(), value);
    rest = rest.slice(whole.length);
  }
  return toOptions(values);
}

const FLAGS = new Set(['cert-authority', 'no-touch-required']);
const VALUED = new Set(['namespaces', 'valid-after', 'valid-before']);

function addOption(values: Map<string, string>, name: string, value: string | undefined): void {
  const isKnown = value === undefined ? FLAGS.has(name) : VALUED.has(name);
  if (!isKnown) throw new LineError(`has the option ${name}, which is unknown in this form`);
  if (values.has(name)) throw new LineError(`has the option ${name} twice`);
  values.set(name, (value ?? '').replaceAll('\\"', '"'));
}

function toOptions(values: ReadonlyMap<string, string>): Options {
  const namespaces = values.get('namespaces');
  const after = values.get('valid-after');
  const before = values.get('valid-before');
  const validAfter = after === undefined ? null : parseTime('valid-after', after);
  const validBefore = before === undefined ? null : parseTime('valid-before', before);
  if (validAfter && validBefore && validBefore <= validAfter) throw new LineError('expires before it begins');
  return {
    certAuthority: values.has('cert-authority'),
    noTouchRequired: values.has('no-touch-required'),
    namespaces: namespaces === undefined ? null : parseList(namespaces, 'namespaces'),
    validAfter,
    validBefore,
  };
}

const LOOKS_LIKE_KEY_TYPE = /^(?:ssh|ecdsa|sk|webauthn)-/;

/** Parses `PRINCIPALS [OPTIONS] TYPE BASE64 [COMMENT]`; null for a blank line or a comment. */
export function parseAllowedSigner(text: string, line: number, what: string): AllowedSigner | null {
  const trimmed = text.trim();
  if (trimmed === '' || trimmed.startsWith('#')) return null;
  const [principals, afterPrincipals] = cutWord(trimmed);
  const [word, afterWord] = cutWord(afterPrincipals);
  const bare = isKeyName(word) || LOOKS_LIKE_KEY_TYPE.test(word); // No options. ssh-dss is recognised too, so that it is reported as a refused key.
  const [options, keyText] = bare ? ['', afterPrincipals] : [word, afterWord];
  const key = parsePublicKeyLine(keyText, `the key in ${what}`);
  if (key.certificate)
    throw new LineError('lists a certificate; list the key of its authority, with cert-authority');
  return { line, principals: parsePrincipals(principals), key, ...parseOptions(options) };
}
