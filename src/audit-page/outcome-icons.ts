/** An icon for each outcome: a shape, filled or hollow, and a colour. */
import type { RowOutcome } from '../app/auditor/model.ts';
import { el, svg } from './dom.ts';
import { MEANING } from './outcomes.ts';

/** An SVG path around a point. */
type Shape = (x: number, y: number, r: number) => string;

const circle: Shape = (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`;

export const SHAPES: Readonly<Record<RowOutcome, Shape>> = {
  signed: circle,
  waiting: circle,
  failed: (x, y, r) => `M${x} ${y - r * 1.15}l${r * 1.15} ${r * 2}h${-2.3 * r}z`,
  rejected: (x, y, r) => `M${x - r} ${y - r}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}`,
  unproven: (x, y, r) =>
    `M${x} ${y - r * 1.3}l${1.3 * r} ${1.3 * r}l${-1.3 * r} ${1.3 * r}l${-1.3 * r} ${-1.3 * r}z`,
};

export const outcomeIcon = (outcome: RowOutcome): SVGElement =>
  svg(
    'svg',
    { class: `sign ${outcome}`, viewBox: '0 0 16 16', width: 14, height: 14, 'aria-hidden': 'true' },
    svg('path', { d: SHAPES[outcome](8, 8, 4.6) }),
  );

export const checkMark = (): SVGElement =>
  svg(
    'svg',
    { class: 'sign check', viewBox: '0 0 16 16', 'aria-hidden': 'true' },
    svg('path', { d: 'M2.5 8.5l3.7 3.8 7.3-8' }),
  );

export const badge = (outcome: RowOutcome): HTMLElement =>
  el('span', { class: `badge ${outcome}`, title: MEANING[outcome] }, outcomeIcon(outcome), outcome);
