/** The timeline: lines from the requests to their answers. */
import type { RowOutcome } from '../app/auditor/model.ts';
import { ticksOf, EDGE, timelineScale, type TimelineScale } from './timeline-scale.ts';
import { askedAt, NOW, type AuditItem } from './audit-data.ts';
import { byId, svg } from './dom.ts';
import { OUTCOMES } from './outcomes.ts';
import { SHAPES } from './outcome-icons.ts';
import { state } from './state.ts';

/** The position of an answer in the drawing. */
export interface Mark {
  readonly x: number;
  readonly y: number;
  readonly item: AuditItem;
}

let marks: Mark[] = [];

/** The largest distance from a mark that counts as on it, in pixels. */
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

const matchesWith = (outcome: RowOutcome): AuditItem[] =>
  state.matches.filter(({ row }) => row.outcome === outcome);

export function drawTimeline(): void {
  const holder = byId('drawing');
  marks = [];
  byId('timeline').hidden = state.matches.length === 0;
  if (state.matches.length === 0) return holder.replaceChildren();
  const lanes = OUTCOMES.filter((outcome) => matchesWith(outcome).length > 0);
  const scale = timelineScale(Math.max(320, holder.clientWidth), lanes.length);
  const drawing = emptyDrawing(scale, lanes);
  drawing.append(
    axis(scale),
    ...lanes.flatMap((outcome, i) => lane(outcome, scale.y(i), scale)),
    ...requests(scale),
    svg('circle', { class: 'halo', r: 9, visibility: 'hidden' }),
  );
  holder.replaceChildren(drawing);
}

function emptyDrawing(
  { width, height, left, right }: TimelineScale,
  lanes: readonly RowOutcome[],
): SVGElement {
  const counts = lanes.map((outcome) => `${matchesWith(outcome).length} ${outcome}`);
  return svg('svg', {
    class: state.matches.length > (right - left) / 5 ? 'dense' : '',
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: 'img',
    'aria-label': `Timeline: ${counts.join(', ')}; the table below has the same`,
  });
}

function axis({ from, to, left, right, bottom, x }: TimelineScale): SVGElement {
  const room = right - left;
  const group = svg('g', { class: 'axis' }, svg('path', { d: `M${left} ${bottom}h${room}` }));
  for (const { time, label } of ticksOf(from, to, room)) {
    const at = x(time).toFixed(1);
    group.append(svg('path', { d: `M${at} ${EDGE.top - 8}V${bottom}`, class: 'grid' }));
    group.append(svg('text', { x: at, y: bottom + 17 }, label));
  }
  return group;
}

/** The answers with one outcome: lines from their requests, and their marks. */
function lane(outcome: RowOutcome, y: number, { left, right, x }: TimelineScale): SVGElement[] {
  let [lines, shapes] = ['', ''];
  for (const item of matchesWith(outcome)) {
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

const requests = ({ left, x }: TimelineScale): SVGElement[] => [
  svg('text', { x: left - 12, y: EDGE.top + 4, class: 'lane' }, 'asked'),
  svg('path', {
    class: 'asked',
    d: state.matches.map(({ row }) => `M${x(askedAt(row)).toFixed(1)} ${EDGE.top - 5}v10`).join(''),
  }),
];
