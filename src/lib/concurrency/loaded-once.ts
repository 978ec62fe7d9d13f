/**
 * Only for speed: remembers what `load` returned, a module that is imported when it is first needed. Without it, each call
 * asks Node's loader again: 30 µs, and 0.6 ms in tests, whose loader runs in another thread.
 */
export function loadedOnce<T>(load: () => Promise<T>): () => Promise<T> {
  let loaded: Promise<T> | undefined;
  return () => (loaded ??= load());
}
