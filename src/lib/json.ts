/** The value of a JSON text; null if the text is not JSON. */
export function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Whether the quotation mark at `at` is escaped: after an odd number of backslashes. */
function isEscaped(json: string, at: number): boolean {
  let start = at;
  while (json[start - 1] === '\\') start -= 1;
  return (at - start) % 2 === 1;
}

/** The index after a string that begins at `start`; that of the text's end if the string has none. */
function endOfString(json: string, start: number): number {
  let at = json.indexOf('"', start + 1);
  while (at >= 0 && isEscaped(json, at)) at = json.indexOf('"', at + 1);
  return at < 0 ? json.length : at + 1;
}

/** The brackets, colons and commas of a JSON text outside of its strings, each with the string directly before it. */
function* structureOf(json: string): Generator<readonly [char: string, before: string]> {
  let before = '';
  for (let at = 0; at < json.length; at += 1) {
    const char = json[at] ?? '';
    if (char === '"') {
      const end = endOfString(json, at);
      before = json.slice(at, end);
      at = end - 1;
    } else if ('{}[]:,'.includes(char)) yield [char, before];
  }
}

/** The deepest nesting of a bounded text: code that recurses over the values has room for it. */
const MAX_DEPTH = 64;

/**
 * Whether a text, if it is JSON at all, has at most this many values and no deep nesting. Ask before parsing what
 * strangers wrote: a text of brackets alone takes fifty times its size in memory.
 */
export function isBounded(json: string, mostValues: number): boolean {
  let [values, depth] = [1, 0];
  for (const [char] of structureOf(json)) {
    if ('{[,'.includes(char)) values += 1;
    if ('{['.includes(char)) depth += 1;
    if ('}]'.includes(char)) depth -= 1;
    if (values > mostValues || depth > MAX_DEPTH) return false;
  }
  return true;
}

/**
 * A key that one object of a valid JSON text has twice, or null. Readers differ about which of the two counts, so a
 * signed text must not leave that open.
 */
export function repeatedKey(json: string): string | null {
  const open: Set<string>[] = [];
  for (const [char, before] of structureOf(json))
    if (char === '{') open.push(new Set());
    else if (char === '}') open.pop();
    else if (char === ':') {
      const key = JSON.parse(before) as string;
      if (open.at(-1)?.has(key)) return key;
      open.at(-1)?.add(key);
    }
  return null;
}
