import type { AuthorityState } from './authority-state.ts';

/** What to do next for one timestamp. */
type Choice =
  /** Ask this one; meanwhile, `probes` may each be tried by one request whose token is not used. */
  | { readonly act: 'ask'; readonly authority: AuthorityState; readonly probes: readonly AuthorityState[] }
  /** Another timestamp tries an authority that is out of order: wait for what it finds. */
  | { readonly act: 'join'; readonly probe: Promise<unknown> }
  /** Every authority asks for a pause. */
  | { readonly act: 'pause' }
  /** Every authority that may be asked is out of order, and is left alone. */
  | { readonly act: 'fail'; readonly open: readonly AuthorityState[] };

/**
 * Chooses among authorities in their order of preference: the first one without fault; else the one whose rest ends first;
 * else, with all circuits open, one whose rest is over, by a single request. `trial`: does not wait for a rest to end.
 */
export function chooseAuthority(candidates: readonly AuthorityState[], now: number, trial: boolean): Choice {
  const ready = candidates.filter((authority) => authority.wait(now) === 0);
  if (ready.length === 0) return { act: 'pause' };
  const sound = ready.findIndex((authority) => authority.isSound);
  const best = ready[sound];
  if (best) {
    // Only those that would be preferred: the others are tried when they are needed.
    const probes = ready.slice(0, sound).filter((authority) => authority.isDue(now));
    return { act: 'ask', authority: best, probes };
  }
  const [rested] = ready.filter((authority) => !authority.isOpen).toSorted((a, b) => a.restEnd - b.restEnd);
  if (rested) return { act: 'ask', authority: rested, probes: [] };
  const due = ready.find((authority) => authority.isDue(now) || (trial && authority.probe === null));
  if (due) return { act: 'ask', authority: due, probes: [] };
  const probe = ready.find((authority) => authority.probe !== null)?.probe;
  return probe ? { act: 'join', probe } : { act: 'fail', open: ready };
}
