/** What changes while the page is open: ages, warnings, the state of signers; and the change to a newer page. */
import { data, NOW } from './audit-data.ts';
import { code } from './components.ts';
import { byId, el } from './dom.ts';
import { ago } from './format.ts';
import { drawQueue } from './queue.ts';
import { drawSigners } from './signers.ts';
import { timeOf } from './times.ts';
import { keepView } from './view-state.ts';
import { warningsAt, type Warning } from './warnings.ts';

const TICK = 10_000;
/** The page is not asked for more often, in milliseconds. */
const LEAST = 10_000;

/** Draws what depends on the present time, now and every few seconds; looks for a newer page. */
export function startClock(): void {
  draw();
  setInterval(draw, TICK);
  document.addEventListener('visibilitychange', () => {
    draw();
    if (data.page.every !== null) void takeNewer();
  });
  const { every } = data.page;
  if (every !== null) setInterval(() => void takeNewer(), Math.max(LEAST, every * 1000));
}

function draw(): void {
  drawWritten(Date.now());
  // What a page that is written once says about signers was true when it was written.
  const now = data.page.every === null ? NOW : Date.now();
  drawWarnings(warningsAt(now));
  drawSigners(now);
  drawQueue(now);
}

function drawWritten(now: number): void {
  const { every } = data.page;
  const written = byId('written');
  written.hidden = false;
  const age = now - timeOf(data.auditedAt);
  written.textContent = `Written ${age < 0 ? 'ahead of this clock' : ago(age)}${every === null ? '' : '; this page refreshes itself'}`;
}

/** Draws only changes: otherwise a screen reader would read the warnings again and again. */
function drawWarnings(warnings: readonly Warning[]): void {
  const holder = byId('alarms');
  holder.hidden = warnings.length === 0;
  const boxes = warnings.map(({ level, title, text, code: id }) =>
    el(
      'p',
      { class: level },
      el('strong', {}, title),
      text === '' ? '' : `: ${text}`,
      id !== undefined && ' ',
      id !== undefined && code(id),
    ),
  );
  const isSame =
    boxes.map((each) => each.textContent).join('\n') ===
    [...holder.children].map((each) => each.textContent).join('\n');
  if (!isSame) holder.replaceChildren(...boxes);
}

/**
 * Loads the page again if there is a newer one. A server is asked for its version first, so that this page stays if the
 * server is down; a file cannot be asked and is loaded again.
 */
async function takeNewer(): Promise<void> {
  if (document.hidden || (getSelection()?.toString() ?? '') !== '') return;
  if (location.protocol !== 'file:' && !(await isNewer())) return;
  keepView();
  location.reload();
}

/** The version that the server named first; tells apart pages that were written in the same second. */
let entityTag: string | null = null;

const digits = (value: number): string => String(value).padStart(2, '0');

/** A time as `document.lastModified` has it: local, and so not to be parsed in the hour that autumn repeats. */
function asLastModified(time: string): string {
  const at = new Date(time);
  const day = [digits(at.getMonth() + 1), digits(at.getDate()), at.getFullYear()].join('/');
  return `${day} ${[at.getHours(), at.getMinutes(), at.getSeconds()].map(digits).join(':')}`;
}

/**
 * Whether the server has another version than the one that was loaded; false if it does not answer. An earlier time is
 * another version too: its clock may have been set back.
 */
async function isNewer(): Promise<boolean> {
  try {
    const { ok, headers } = await fetch(location.href, { method: 'HEAD', cache: 'no-store' });
    const [changed, tag] = [headers.get('last-modified'), headers.get('etag')];
    const isSameTag = tag === (entityTag ??= tag);
    // Without a time there is no way to tell.
    return ok && (changed === null || asLastModified(changed) !== document.lastModified || !isSameTag);
  } catch {
    return false;
  }
}
