/**
 * Runs up to `width` tasks at a time and yields their results in the order of the tasks. A task starts only when there
 * is room for it, so at most `width` results are in memory; when the generator ends, no task is running.
 */
export async function* inOrder<T>(tasks: Iterable<() => Promise<T>>, width: number): AsyncGenerator<T> {
  const running: Promise<T>[] = [];
  try {
    for (const task of tasks) {
      const result = task();
      // A failure is reported in its turn; until then it must not count as unhandled.
      result.catch(() => {});
      running.push(result);
      const first = running.length >= width ? running.shift() : undefined;
      if (first) yield await first;
    }
    for (let first = running.shift(); first; first = running.shift()) yield await first;
  } finally {
    await Promise.allSettled(running);
  }
}
