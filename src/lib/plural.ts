/** A count with its noun: `1 warning`, `2 warnings`; `many` if the plural does not end in s. */
export const plural = (count: number, one: string, many = `${one}s`): string =>
  `${count} ${count === 1 ? one : many}`;
