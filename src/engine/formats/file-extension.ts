/** The extension of a path in lower case, without the trailing dots and spaces that Windows ignores. */
export const extensionOf = (path: string): string | undefined =>
  /\.([^./\\]+)$/.exec(path.slice(0, endOfName(path)))?.[1]?.toLowerCase();

function endOfName(path: string): number {
  let end = path.length;
  while (end > 0 && (path[end - 1] === '.' || path[end - 1] === ' ')) end -= 1;
  return end;
}
