/** The timeline: what was found as lines from the requests to their answers. */
import type { RowOutcome } from '../app/auditor/model.ts';
import { ticksOf } from './axis.ts';
import { askedAt, NOW, type Item } from './data.ts';
import { byId, svg } from './dom.ts';
import { OUTCOMES } from './outcomes.ts';
import { EDGE, plotOf, type Plot } from './timeline-scale.ts';
import { SHAPES } from './outcome-icons.ts';
import { state } from './state.ts';

/** Where an answer was drawn. */
export interface Mark {
  readonly x: number;
  readonly y: number;
  readonly item: Item;
}

let marks: Mark[] = [];

/** How near to a mark counts as on it, in pixels. */
const REACH = 14;

/** The mark at a point of the drawing. */
export function markAt(x: number, y: number): Mark | null {
  let best: Mark | null = null;
  let least = REACH ** 2;
  for (const mark of marks) {
    const distance = (mark.x - x) ** 2 + (mark.y - y) ** 2;
    if (distance < least) [best, least] = [mark, distance];
  }
  return best;
}

const foundAs = (outcome: RowOutcome): Item[] => state.found.filter(({ row }) => row.outcome === outcome);

export function drawTimeline(): void {
  const holder = byId('drawing');
  marks = [];
  byId('timeline').hidden = state.found.length === 0;
  if (state.found.length === 0) return holder.replaceChildren();
  const lanes = OUTCOMES.filter((outcome) => foundAs(outcome).length > 0);
  const plot = plotOf(Math.max(320, holder.clientWidth), lanes.length);
  const drawing = emptyDrawing(plot, lanes);
  drawing.append(
    axis(plot),
    ...lanes.flatMap((outcome, i) => lane(outcome, plot.y(i), plot)),
    ...requests(plot),
    svg('circle', { class: 'halo', r: 9, visibility: 'hidden' }),
  );
  holder.replaceChildren(drawing);
}

function emptyDrawing({ width, height, left, right }: Plot, lanes: readonly RowOutcome[]): SVGElement {
  const counts = lanes.map((outcome) => `${foundAs(outcome).length} ${outcome}`);
  return svg('svg', {
    class: state.found.length > (right - left) / 5 ? 'dense' : '',
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: 'img',
    'aria-label': `Timeline: ${counts.join(', ')}; the table below has the same`,
  });
}

function axis({ from, to, left, right, bottom, x }: Plot): SVGElement {
  const room = right - left;
  const group = svg('g', { class: 'axis' }, svg('path', { d: `M${left} ${bottom}h${room}` }));
  for (const { time, label } of ticksOf(from, to, room)) {
    const at = x(time).toFixed(1);
    group.append(svg('path', { d: `M${at} ${EDGE.top - 8}V${bottom}`, class: 'grid' }));
    group.append(svg('text', { x: at, y: bottom + 17 }, label));
  }
  return group;
}

/** One kind of answer: lines from the requests to it, and its marks. */
function lane(outcome: RowOutcome, y: number, { left, right, x }: Plot): SVGElement[] {
  let [lines, shapes] = ['', ''];
  for (const item of foundAs(outcome)) {
    const asked = x(askedAt(item.row));
    const answered = outcome === 'waiting' ? asked : x(item.when);
    lines += `M${asked.toFixed(1)} ${EDGE.top + 5}L${answered.toFixed(1)} ${y}`;
    if (outcome === 'waiting') lines += `H${x(NOW).toFixed(1)}`;
    shapes += SHAPES[outcome](Number(answered.toFixed(1)), y, 4);
    marks.push({ x: answered, y, item });
  }
  return [
    svg('path', { d: `M${left} ${y}H${right}`, class: 'rail' }),
    svg('text', { x: left - 12, y: y + 4, class: `lane ${outcome}` }, outcome),
    svg('path', { d: lines, class: `link ${outcome}` }),
    svg('path', { d: shapes, class: `mark ${outcome}` }),
  ];
}

const requests = ({ left, x }: Plot): SVGElement[] => [
  svg('text', { x: left - 12, y: EDGE.top + 4, class: 'lane' }, 'asked'),
  svg('path', {
    class: 'asked',
    d: state.found.map(({ row }) => `M${x(askedAt(row)).toFixed(1)} ${EDGE.top - 5}v10`).join(''),
  }),
];
