/**
 * OpenSSH's patterns (ssh_config(5) PATTERNS): `*` is any run of characters, `?` one character.
 * Linear in the text for each `*`, so that no pattern can hang it.
 */
export function matchesWildcards(text: string, pattern: string): boolean {
  let at = 0;
  let next = 0;
  let star = -1; // where the last * stands, and how much of the text it has eaten
  let eaten = 0;
  while (at < text.length) {
    if (next < pattern.length && pattern[next] === '*') {
      star = next++;
      eaten = at;
    } else if (next < pattern.length && (pattern[next] === '?' || pattern[next] === text[at])) {
      at++;
      next++;
    } else if (star >= 0) {
      next = star + 1;
      at = ++eaten;
    } else {
      return false;
    }
  }
  while (pattern[next] === '*') next++;
  return next === pattern.length;
}

/**
 * A pattern list: at least one pattern has to match, and none of those that begin with `!`. A list
 * of only `!` patterns matches nothing.
 */
export function matchesWildcardList(text: string, patterns: readonly string[]): boolean {
  let matched = false;
  for (const pattern of patterns) {
    const negated = pattern.startsWith('!');
    if (!matchesWildcards(text, negated ? pattern.slice(1) : pattern)) continue;
    if (negated) return false;
    matched = true;
  }
  return matched;
}
