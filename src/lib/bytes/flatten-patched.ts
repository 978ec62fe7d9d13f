import { ConcatenatedSource, type SourceRange } from './concatenated-source.ts';
import { DeltaBuilder, placeSpans } from './delta.ts';
import { PatchedSource } from './patched-source.ts';

/** A file that was made of a patched file, described as a delta over the file that was patched first. */
export function flattened(outer: PatchedSource): PatchedSource {
  const inner = outer.source;
  if (!(inner instanceof PatchedSource)) return outer;
  const sizes = { source: inner.source.size, fresh: inner.fresh.size };
  const placed = placeSpans(inner.delta, sizes);
  const builder = new DeltaBuilder();
  const fresh: SourceRange[] = [];
  const insert = (range: SourceRange): void => {
    builder.insert(range.end - range.start);
    fresh.push(range);
  };
  for (const { from, start, end } of outer.delta.spans) {
    if (from === 'fresh') insert({ source: outer.fresh, start, end });
    else
      for (const span of placed) {
        const [first, last] = [Math.max(start, span.at), Math.min(end, span.at + span.end - span.start)];
        if (first >= last) continue;
        const range = { start: span.start + first - span.at, end: span.start + last - span.at };
        if (span.from === 'source') builder.copy(range);
        else insert({ source: inner.fresh, ...range });
      }
  }
  return flattened(
    new PatchedSource(inner.source, builder.delta, new ConcatenatedSource(fresh, outer.name), outer.name),
  );
}
