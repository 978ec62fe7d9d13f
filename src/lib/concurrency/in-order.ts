/**
 * Runs tasks `width` at a time and yields their results in the order of the tasks. No task starts before
 * there is room for it, so memory is bounded by `width` results; none still runs when this has ended.
 */
export async function* inOrder<T>(tasks: Iterable<() => Promise<T>>, width: number): AsyncGenerator<T> {
  const running: Promise<T>[] = [];
  try {
    for (const task of tasks) {
      const result = task();
      // A failure is seen when its turn comes; until then it must not count as unhandled.
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
