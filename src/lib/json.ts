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

/** The index after a string that begins at `start`. */
function endOfString(json: string, start: number): number {
  let at = json.indexOf('"', start + 1);
  while (isEscaped(json, at)) at = json.indexOf('"', at + 1);
  return at + 1;
}

/**
 * A key that one object of a valid JSON text has twice, or null. Readers differ about which of the two counts, so a
 * signed text must not leave that open.
 */
export function repeatedKey(json: string): string | null {
  const open: Set<string>[] = [];
  let text = '';
  for (let at = 0; at < json.length; at += 1) {
    const char = json[at];
    if (char === '"') {
      const end = endOfString(json, at);
      text = json.slice(at, end);
      at = end - 1;
    } else if (char === '{') open.push(new Set());
    else if (char === '}') open.pop();
    else if (char === ':') {
      const key = JSON.parse(text) as string;
      if (open.at(-1)?.has(key)) return key;
      open.at(-1)?.add(key);
    }
  }
  return null;
}
