import type { Place } from '../place.ts';
import type { Group } from '../report.ts';
import type { BenchOptions } from '../run.ts';

/** Filled in with growth's repository once the audit is there. */
// eslint-disable-next-line require-await -- the cases are asynchronous
export async function audit(_place: Place, _options: BenchOptions): Promise<Group[]> {
  return [];
}
