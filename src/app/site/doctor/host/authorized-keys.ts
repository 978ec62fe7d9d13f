/** One line of an authorized_keys file (sshd(8), AUTHORIZED_KEYS FILE FORMAT) that has a key. */
export interface AuthorizedKey {
  /** The number of its line, from 1. */
  readonly line: number;
  /** Names of options in lower case, with their values; an option without a value has an empty one. */
  readonly options: ReadonlyMap<string, string>;
  /** Type and base64 of the key. */
  readonly key: string;
}

/** More lines than any site has; the rest is not read. */
const MAX_LINES = 10_000;

const KEY_TYPE = /^(?:ssh-|ecdsa-|sk-)[a-z0-9@.-]+$/;

/** The first word of a line; blanks within quotes belong to it. Returns it and the rest. */
function firstWord(text: string): [string, string] {
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (char === '\\' && text[at + 1] === '"') at += 1;
    else if (char === '"') quoted = !quoted;
    else if ((char === ' ' || char === '\t') && !quoted)
      return [text.slice(0, at), text.slice(at).trimStart()];
  }
  return [text, ''];
}

/** Options are separated by commas outside of quotes. */
function optionsIn(text: string): Map<string, string> {
  const options = new Map<string, string>();
  let rest = text;
  while (rest !== '') {
    const found = /^([A-Za-z0-9-]+)(?:="((?:\\"|[^"])*)")?(?:,|$)/.exec(rest);
    // What cannot be read is an option of its own, so that it does not pass for a permitted one.
    if (!found) return options.set(rest, '');
    const [all, name = '', value = ''] = found;
    options.set(name.toLowerCase(), value.replaceAll('\\"', '"'));
    rest = rest.slice(all.length);
  }
  return options;
}

/** Reads an authorized_keys file. Lines without a key are left out, as sshd does. */
export function parseAuthorizedKeys(text: string): AuthorizedKey[] {
  return text
    .split('\n')
    .slice(0, MAX_LINES)
    .flatMap((raw, index) => {
      const line = raw.trim();
      if (line === '' || line.startsWith('#')) return [];
      const [first, rest] = firstWord(line);
      const [type, after] = KEY_TYPE.test(first) ? [first, rest] : firstWord(rest);
      const [blob] = firstWord(after);
      if (!KEY_TYPE.test(type) || blob === '') return [];
      const options = type === first ? new Map<string, string>() : optionsIn(first);
      return [{ line: index + 1, options, key: `${type} ${blob}` }];
    });
}
