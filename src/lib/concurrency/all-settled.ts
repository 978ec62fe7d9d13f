/**
 * Waits for all tasks, like `Promise.all`, but fails only when all of them have ended: no task still reads a file that
 * is closed after the failure. If several tasks fail, the first in the list counts.
 */
export async function settleAll<T extends readonly unknown[] | []>(
  tasks: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(tasks);
  return Promise.all(tasks);
}
