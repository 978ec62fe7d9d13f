const tasks = new Set<() => void>();

/** Registers what has to be done if a signal ends this process; the returned function takes it back. */
export function atStop(task: () => void): () => void {
  tasks.add(task);
  return () => tasks.delete(task);
}

/** Does all that is registered, for a process that ends now. */
export function runStopTasks(): void {
  for (const task of tasks) task();
}
