import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { packageRoot } from '../../lib/package-root.ts';
import { printable, printableLines } from '../../lib/printable.ts';
import { documentText, type DocumentOptions } from './json-report.ts';
import type { Audit, PageState } from './model.ts';
import { NO_HEALTH } from './signers-health.ts';

/** `audit-page/page.ts` with its imports, compiled by the build into one script. */
const SCRIPT = new URL('dist/audit-page/page.js', packageRoot);
const STYLE = new URL('dist/audit-page/style.css', packageRoot);
/** The longest text, in UTF-16 units; longer ones are cut. */
const TEXT_LIMIT = 2000;

/** The state of a page that is written once. */
export const WRITTEN_ONCE: PageState = { next: null, every: null, trouble: null, health: NO_HEALTH };

/** A value with all texts made printable; keys are our own. */
function withPrintableTexts(value: unknown): unknown {
  if (typeof value === 'string') return printable(value, TEXT_LIMIT);
  if (Array.isArray(value)) return value.map(withPrintableTexts);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, withPrintableText(key, each)]));
}

/** The reason of a HOLD is the only text of several lines. */
const withPrintableText = (key: string, value: unknown): unknown =>
  key === 'reason' && typeof value === 'string'
    ? printableLines(value, TEXT_LIMIT)
    : withPrintableTexts(value);

/** A Content Security Policy source that permits exactly this text. */
const permit = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/**
 * The audit as one self-contained page: no network, no other files. Its Content Security Policy permits only its one
 * script and style sheet; a page that is written regularly may also ask its own server whether there is a newer one. The data is JSON in ASCII without markup, which the script shows as text. Returned in chunks,
 * since a long history makes a long text.
 */
export async function auditPage(audit: Audit, options: DocumentOptions): Promise<Iterable<string>> {
  const [script, style] = await Promise.all([readFile(SCRIPT, 'utf8'), readFile(STYLE, 'utf8')]);
  const { page = WRITTEN_ONCE } = options;
  const data = documentText(audit, { ...options, page }, { indent: 0, shown: withPrintableTexts });
  return pageText(data, script, `\n${style}`, page.every === null ? '' : "connect-src 'self'; ");
}

function* pageText(
  data: Iterable<string>,
  script: string,
  style: string,
  network: string,
): Generator<string> {
  const policy = `default-src 'none'; ${network}script-src ${permit(script)}; style-src ${permit(style)}; base-uri 'none'; form-action 'none'`;
  yield `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>Signing audit</title>
<style>${style}</style>
</head>
<body>
${BODY}
<script type="application/json" id="data">`;
  yield* data;
  yield `</script>
<script type="module">${script}</script>
</body>
</html>
`;
}

const BODY = `<main>
<header>
<h1>Signing audit</h1>
<p id="repository"></p>
<noscript><p class="hold">This page needs a script, which this browser does not run. <code>signpipe audit</code> prints the same in a terminal.</p></noscript>
<p id="written" class="written" hidden></p>
<div id="alarms" aria-label="Alarms and warnings" role="region" hidden></div>
<div id="verdict" class="verdict" role="status"></div>
<dl id="facts" class="facts"></dl>
</header>
<section id="signers" aria-labelledby="signersTitle" hidden>
<h2 id="signersTitle">Signers</h2>
<div id="signerCards" class="cards"></div>
</section>
<section id="queue" aria-labelledby="queueTitle" hidden>
<h2 id="queueTitle">Queue</h2>
<div id="queueList" class="queue"></div>
</section>
<section id="timeline" aria-labelledby="timeline-title" hidden>
<h2 id="timeline-title">From request to receipt</h2>
<div id="drawing" class="drawing"></div>
<div id="tip" class="tip" hidden></div>
</section>
<form id="filters" class="filters" role="search" aria-label="Filter the table">
<label class="field grow">Search<input id="search" type="search" autocomplete="off" spellcheck="false" placeholder="name, person, commit, digest, reason …"></label>
<div class="dates">
<label class="field">From<input id="from" type="date"></label>
<label class="field">To<input id="to" type="date"></label>
</div>
<fieldset id="outcomes"><legend>Outcome</legend></fieldset>
</form>
<p id="status" class="status" role="status" aria-live="polite"></p>
<div class="rows">
<table role="table">
<caption class="quiet">Requests and their answers; open a row to see its details</caption>
<thead id="head" role="rowgroup"></thead>
<tbody id="rows" role="rowgroup"></tbody>
</table>
<p id="empty" class="empty" hidden>Nothing matches.</p>
</div>
<button id="more" class="more" type="button" hidden></button>
<div id="end"></div>
<footer>
<p>Names in parentheses are only claimed by a commit; all others are proved by a signature and the auditor’s list of allowed signers. Times are UTC. The repository alone cannot show whether the newest receipts were cut off: compare the branches above with the signer’s accepted heads.</p>
</footer>
</main>`;
