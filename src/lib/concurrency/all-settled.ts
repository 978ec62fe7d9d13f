/**
 * As `Promise.all`, but a failure leaves only when all have come to an end: nothing still reads a file
 * that its owner closes then. Of several failures the first in order counts, whichever came first.
 */
export async function together<T extends readonly unknown[] | []>(
  tasks: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(tasks);
  return Promise.all(tasks);
}
