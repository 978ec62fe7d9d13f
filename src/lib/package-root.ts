/** The folder of the package, from `src/lib/` as well as from the compiled program in `dist/`. */
export const packageRoot = new URL(import.meta.url.endsWith('.ts') ? '../..' : '..', import.meta.url);
