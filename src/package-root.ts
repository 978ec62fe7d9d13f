/** The package's own folder, from `src/` and from `dist/` alike. */
export const packageRoot = new URL('..', import.meta.url);
