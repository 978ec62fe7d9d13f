/**
 * Matches OpenSSH's patterns (ssh_config(5) PATTERNS): `*` is any number of characters, `?` one character.
 * Without recursion: OpenSSH's own matcher takes exponential time on `*a*a*a*`.
 */
export function matchesWildcards(text: string, pattern: string): boolean {
  let at = 0;
  let next = 0;
  let star = -1; // Position of the last *, and the end of the text that it matched.
  let starEnd = 0;
  while (at < text.length) {
    if (next < pattern.length && pattern[next] === '*') {
      star = next++;
      starEnd = at;
    } else if (next < pattern.length && (pattern[next] === '?' || pattern[next] === text[at])) {
      at++;
      next++;
    } else if (star >= 0) {
      next = star + 1;
      at = ++starEnd;
    } else {
      return false;
    }
  }
  while (pattern[next] === '*') next++;
  return next === pattern.length;
}

/**
 * Matches a pattern list: at least one pattern must match, and none of those that begin with `!`. A list of only `!`
 * patterns matches nothing.
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
