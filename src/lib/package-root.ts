/** The package's own folder, found from `src/lib/` and from the compiled program in `dist/` alike. */
export const packageRoot = new URL(import.meta.url.endsWith('.ts') ? '../..' : '..', import.meta.url);
