import type { Place } from '../place.ts';
import type { Group } from '../report.ts';
import type { BenchOptions } from '../run.ts';

export async function growth(_place: Place, _options: BenchOptions): Promise<Group[]> {
  return [];
}
