import type { SshPublicKey } from './public-key.ts';
import { isKeyName, parsePublicKeyLine } from './ssh-key.ts';

/** One line of an allowed signers file. */
export interface AllowedSigner {
  /** Counted from 1. */
  readonly line: number;
  /** Pattern list; `!` in front negates. */
  readonly principals: readonly string[];
  readonly key: SshPublicKey;
  /** The key certifies others and does not sign commits itself. */
  readonly certAuthority: boolean;
  /** Pattern list of signature namespaces; null permits every one. */
  readonly namespaces: readonly string[] | null;
  /** Both ends belong to the time in which the key is good. */
  readonly validAfter: Date | null;
  readonly validBefore: Date | null;
  /** Security keys need not have been touched: signpipe's addition to the format. */
  readonly noTouchRequired: boolean;
}

type Options = Omit<AllowedSigner, 'line' | 'principals' | 'key'>;

/** A problem in a line, for the parser of the file to place. */
export class LineError extends Error {}

const TIME = /^(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(z|utc)?$/i;

/** `YYYYMMDD[Z]` or `YYYYMMDDHHMM[SS][Z]`: local time unless `Z`. Dates that do not exist are refused. */
export function parseAbsoluteTime(text: string): Date | undefined {
  const found = TIME.exec(text);
  if (!found) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = found
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
  return found[7] === undefined ? new Date(year, month - 1, day, hour, minute, second) : calendar;
}

/** Cuts at blanks outside of quotes: the first word and what follows it. */
function cutWord(text: string): [string, string] {
  const word = /^(?:"(?:\\"|[^"])*"|[^\s"])+/.exec(text)?.[0] ?? '';
  const rest = text.slice(word.length);
  if (word === '' || !/^[ \t]/.test(rest)) throw new LineError('has an unfinished quote or lacks a key');
  return [word, rest.replace(/^[ \t]+/, '')];
}

/** The principals may stand in quotes as a whole, to hold blanks. */
function parsePrincipals(word: string): string[] {
  const quoted = /^"([^"]*)"$/.exec(word)?.[1];
  if (quoted === undefined && word.includes('"')) throw new LineError('has a quote inside its principals');
  return parseList(quoted ?? word, 'principals');
}

function parseList(text: string, what: string): string[] {
  const patterns = text.split(',');
  if (patterns.some((pattern) => pattern === '' || pattern === '!'))
    throw new LineError(`has an empty place in its ${what}`);
  if (patterns.every((pattern) => pattern.startsWith('!')))
    throw new LineError(`has only negated ${what}, which match nothing`);
  return patterns;
}

function parseTime(name: string, value: string): Date {
  const time = parseAbsoluteTime(value);
  if (!time)
    throw new LineError(`has ${name}="${value}", where YYYYMMDD[Z] or YYYYMMDDHHMM[SS][Z] is wanted`);
  return time;
}

function parseOptions(word: string): Options {
  const values = new Map<string, string>();
  let rest = word;
  while (rest !== '') {
    const found = /^([a-z-]+)(?:="((?:\\"|[^"])*)")?(?:,(?=.)|$)/i.exec(rest);
    if (!found) throw new LineError(`has options that cannot be read: ${rest}`);
    const [whole, name = '', value] = found;
    addOption(values, name.toLowerCase(), value);
    rest = rest.slice(whole.length);
  }
  return toOptions(values);
}

const FLAGS = new Set(['cert-authority', 'no-touch-required']);
const VALUED = new Set(['namespaces', 'valid-after', 'valid-before']);

function addOption(values: Map<string, string>, name: string, value: string | undefined): void {
  const known = value === undefined ? FLAGS.has(name) : VALUED.has(name);
  if (!known) throw new LineError(`has the option ${name}, which does not exist in this form`);
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

const KEY_LIKE = /^(?:ssh|ecdsa|sk|webauthn)-/;

/** `PRINCIPALS [OPTIONS] TYPE BASE64 [COMMENT]`; null for a blank line or a comment. */
export function parseAllowedSigner(text: string, line: number, what: string): AllowedSigner | null {
  const trimmed = text.trim();
  if (trimmed === '' || trimmed.startsWith('#')) return null;
  const [principals, afterPrincipals] = cutWord(trimmed);
  const [word, afterWord] = cutWord(afterPrincipals);
  const bare = isKeyName(word) || KEY_LIKE.test(word); // no options; ssh-dss shall be called a key that is refused
  const [options, keyText] = bare ? ['', afterPrincipals] : [word, afterWord];
  const key = parsePublicKeyLine(keyText, `the key in ${what}`);
  if (key.certificate) {
    throw new LineError('lists a certificate; list the key of its authority, with cert-authority');
  }
  return { line, principals: parsePrincipals(principals), key, ...parseOptions(options) };
}
