/** The audit page's style sheet. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #fbfbf9; --sheet: #ffffff; --ink: #1c1d1f; --soft: #5c6068; --line: #dcdcd6; --faint: #eeeeea;
  --link: #1f5fa8; --focus: #1f5fa8;
  --signed: #1c7344; --waiting: #1f5fa8; --failed: #8f5b00; --rejected: #b3261e; --unproven: #9c1c8a;
  --signed-bg: #e9f4ed; --waiting-bg: #e8f0fa; --failed-bg: #fbf1dc; --rejected-bg: #fcebe9; --unproven-bg: #faeaf7;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181b; --sheet: #1d2024; --ink: #e6e6e3; --soft: #a2a7b0; --line: #353a41; --faint: #262a2f;
    --link: #8ab8f0; --focus: #8ab8f0;
    --signed: #6fc492; --waiting: #8ab8f0; --failed: #e0b25a; --rejected: #f2857c; --unproven: #e58bd6;
    --signed-bg: #1b3025; --waiting-bg: #1c2b3d; --failed-bg: #342a14; --rejected-bg: #3d2120; --unproven-bg: #3a2037;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 1440px; margin: 0 auto; padding: 28px 28px 60px; }
h1 { font-size: 25px; line-height: 1.2; font-weight: 650; letter-spacing: -0.01em; margin: 0; }
h1 + p { margin: 4px 0 0; color: var(--soft); overflow-wrap: anywhere; }
h2 { font-size: 16px; font-weight: 650; margin: 30px 0 8px; }
h3 { font-size: 14px; font-weight: 650; margin: 0 0 6px; }
h4 { font-size: 13px; font-weight: 600; margin: 12px 0 4px; color: var(--soft); }
button, input { font: inherit; color: inherit; }
code, .hash { font-family: var(--mono); font-size: 0.87em; }
.hash { overflow-wrap: anywhere; user-select: all; color: var(--soft); }
.code { font-weight: 600; }
.aside { color: var(--soft); font-weight: 400; }
.test { color: var(--failed); font-size: 0.8em; letter-spacing: 0.04em; }
:focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; border-radius: 3px; }

.verdict {
  display: flex; align-items: baseline; gap: 10px; margin: 20px 0 0; padding: 12px 16px; font-weight: 600;
  border: 1px solid; border-radius: 8px;
}
.verdict .sign { flex: none; align-self: center; width: 18px; height: 18px; }
.sign.check path { fill: none; stroke-width: 2.4; stroke-linecap: round; }
.verdict.holds { color: var(--signed); background: var(--signed-bg); border-color: var(--signed); }
.verdict.broken {
  color: var(--rejected); background: var(--rejected-bg); border-color: var(--rejected); border-width: 2px; font-size: 17px;
}
.verdict.broken .sign { color: inherit; }
.problems { margin: 12px 0 0; padding: 0; list-style: none; border: 1px solid var(--line); border-radius: 8px; background: var(--sheet); }
.problems li { padding: 10px 16px; overflow-wrap: anywhere; }
.problems li + li { border-top: 1px solid var(--line); }
.problems p { margin: 2px 0 0; }
.problems .code { color: var(--rejected); }
.facts { display: flex; flex-wrap: wrap; gap: 6px 36px; margin: 16px 0 0; }
.facts dt { font-size: 12px; color: var(--soft); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.hold { margin: 16px 0 0; padding: 10px 16px; border-left: 4px solid var(--failed); background: var(--failed-bg); white-space: pre-line; }

.sign { overflow: visible; vertical-align: -2px; }
.sign path { fill: currentColor; stroke: currentColor; stroke-width: 1.4; stroke-linejoin: round; }
.sign.waiting path { fill: none; stroke-width: 2; }
.sign.rejected path { fill: none; stroke-width: 2.8; stroke-linecap: round; }
.signed > .sign, .sign.signed { color: var(--signed); }
.waiting > .sign, .sign.waiting { color: var(--waiting); }
.failed > .sign, .sign.failed { color: var(--failed); }
.rejected > .sign, .sign.rejected { color: var(--rejected); }
.unproven > .sign, .sign.unproven { color: var(--unproven); }
.badge { display: inline-flex; align-items: center; gap: 6px; padding: 1px 9px 1px 7px; border-radius: 999px; font-size: 13px; font-weight: 600; white-space: nowrap; }
.badge.signed { color: var(--signed); background: var(--signed-bg); }
.badge.waiting { color: var(--waiting); background: var(--waiting-bg); }
.badge.failed { color: var(--failed); background: var(--failed-bg); }
.badge.rejected { color: var(--rejected); background: var(--rejected-bg); }
.badge.unproven { color: var(--unproven); background: var(--unproven-bg); }
.row.unproven .badge.unproven { background: var(--sheet); }

#timeline { position: relative; margin-top: 26px; }
#timeline h2 { margin: 0 0 6px; }
.drawing { position: relative; background: var(--sheet); border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
.drawing.hot { cursor: pointer; }
.drawing svg { display: block; max-width: 100%; }
.drawing text { font-size: 12px; fill: var(--soft); text-anchor: end; }
.axis text { text-anchor: middle; }
.axis path { stroke: var(--line); fill: none; }
.axis .grid { stroke: var(--faint); }
.rail { stroke: var(--faint); }
.asked { stroke: var(--soft); stroke-width: 1; }
.link { fill: none; stroke-width: 1; opacity: 0.45; }
.mark { stroke-width: 1; stroke-linejoin: round; }
.link.signed { stroke: var(--signed); opacity: 0.3; }
.mark.signed { fill: var(--signed); stroke: var(--sheet); }
.link.waiting { stroke: var(--waiting); stroke-dasharray: 4 3; }
.mark.waiting { fill: var(--sheet); stroke: var(--waiting); stroke-width: 2; }
.link.failed { stroke: var(--failed); opacity: 0.7; }
.mark.failed { fill: var(--failed); stroke: var(--sheet); }
.link.rejected { stroke: var(--rejected); opacity: 0.7; }
.mark.rejected { fill: none; stroke: var(--rejected); stroke-width: 2.6; stroke-linecap: round; }
.link.unproven { stroke: var(--unproven); opacity: 0.8; }
.mark.unproven { fill: var(--unproven); stroke: var(--sheet); }
.drawing text.rejected { fill: var(--rejected); font-weight: 600; }
.drawing text.unproven { fill: var(--unproven); font-weight: 600; }
.drawing text.failed { fill: var(--failed); font-weight: 600; }
.dense .mark { stroke: none; }
.dense .mark.rejected { stroke: var(--rejected); stroke-width: 2.2; }
.dense .mark.waiting { stroke: var(--waiting); }
.dense .link.signed { opacity: 0.1; }
.dense .link { opacity: 0.45; }
.dense .asked { opacity: 0.35; }
.halo { fill: none; stroke: var(--ink); stroke-width: 1.5; }
.tip {
  position: absolute; z-index: 2; width: 250px; padding: 8px 11px; font-size: 13px; pointer-events: none; overflow-wrap: anywhere;
  color: var(--ink); background: var(--sheet); border: 1px solid var(--line); border-radius: 8px; box-shadow: 0 4px 18px rgb(0 0 0 / 0.16);
}

.filters { display: flex; flex-wrap: wrap; align-items: end; gap: 12px 20px; margin: 26px 0 12px; }
.filters label.field { display: grid; gap: 3px; font-size: 12px; color: var(--soft); }
.filters .grow { flex: 1 1 260px; }
.filters input[type='search'], .filters input[type='date'] {
  font-size: 15px; padding: 6px 10px; color: var(--ink); background: var(--sheet); border: 1px solid var(--line); border-radius: 6px; height: 38px; width: 100%;
}
fieldset { border: 0; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: 6px; }
legend { font-size: 12px; color: var(--soft); padding: 0; margin-bottom: 3px; }
.chip { display: inline-flex; align-items: center; gap: 6px; height: 38px; padding: 0 13px; border: 1px solid var(--line); border-radius: 999px; background: var(--sheet); cursor: pointer; font-size: 14px; }
.chip input { position: absolute; opacity: 0; pointer-events: none; }
.chip b { font-weight: 600; }
.chip:has(input:not(:checked)) { background: transparent; color: var(--soft); text-decoration: line-through; border-style: dashed; }
.chip:has(input:not(:checked)) .sign { opacity: 0.4; }
.chip:has(input:focus-visible) { outline: 2px solid var(--focus); outline-offset: 2px; }
.chip.none { opacity: 0.55; }
.status { margin: 0 0 6px; font-size: 13px; color: var(--soft); }

table { border-collapse: collapse; width: 100%; }
.rows { background: var(--sheet); border: 1px solid var(--line); border-radius: 8px; }
.rows > table { table-layout: fixed; font-size: 14.5px; }
.rows th:first-child { border-top-left-radius: 8px; }
.rows th:last-child { border-top-right-radius: 8px; }
.rows th { position: sticky; top: 0; z-index: 1; padding: 0; text-align: left; background: var(--sheet); box-shadow: inset 0 -1px var(--line); }
.rows th button { display: block; width: 100%; padding: 9px 10px; text-align: left; font-size: 13px; font-weight: 600; color: var(--soft); background: none; border: 0; cursor: pointer; white-space: nowrap; }
.rows th button:hover { color: var(--ink); }
.rows th:first-child button, .rows td:first-child { padding-left: 16px; }
th[aria-sort] button { color: var(--ink); }
th[aria-sort='ascending'] .arrow::after { content: ' ↑'; }
th[aria-sort='descending'] .arrow::after { content: ' ↓'; }
th.when { width: 156px; } th.asked, th.vouched { width: 14%; } th.signed { width: 100px; }
th.certificate { width: 11.5%; } th.waited { width: 82px; } th.outcome { width: 126px; }
.row > td { padding: 8px 10px; vertical-align: top; border-top: 1px solid var(--faint); overflow-wrap: anywhere; }
.row { cursor: pointer; }
.row:hover > td { background: var(--faint); }
.row > td:first-child { box-shadow: inset 4px 0 transparent; white-space: nowrap; }
.row.rejected > td:first-child { box-shadow: inset 4px 0 var(--rejected); }
.row.failed > td:first-child { box-shadow: inset 4px 0 var(--failed); }
.row.unproven > td:first-child { box-shadow: inset 4px 0 var(--unproven); }
.row.unproven > td { background: var(--unproven-bg); }
.row.rejected > td { background: color-mix(in srgb, var(--rejected-bg) 55%, var(--sheet)); }
.row.waiting > td:first-child { box-shadow: inset 4px 0 var(--waiting); }
.row.open > td { background: var(--faint); }
button.what { display: block; position: relative; padding: 0 0 0 17px; border: 0; background: none; text-align: left; font-weight: 500; cursor: pointer; overflow-wrap: anywhere; }
button.what::before {
  content: ''; position: absolute; left: 2px; top: 0.46em; width: 6px; height: 6px; border: solid var(--soft); border-width: 0 1.6px 1.6px 0; transform: rotate(-45deg);
}
button.what[aria-expanded='true']::before { transform: translateY(-2px) rotate(45deg); }
.remark { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; font-size: 13px; margin: 1px 0 0 17px; color: var(--soft); }
.rejected .remark { color: var(--rejected); } .failed .remark { color: var(--failed); } .unproven .remark { color: var(--unproven); }
.claim { color: var(--soft); font-style: italic; }

.detail > td { padding: 14px 20px 22px 28px; background: var(--faint); overflow-wrap: anywhere; }
.alarm { margin-bottom: 14px; padding: 10px 14px; border: 1px solid var(--unproven); border-radius: 6px; background: var(--unproven-bg); }
.alarm ul { margin: 6px 0 0; padding-left: 20px; }
.parts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(330px, 100%), 1fr)); gap: 18px 32px; }
dl { margin: 0; }
.part dl, .file dl { display: grid; grid-template-columns: minmax(92px, max-content) 1fr; gap: 2px 14px; font-size: 14px; }
.part dt, .file dt { color: var(--soft); }
.part dd, .file dd { margin: 0; min-width: 0; }
.file { margin-top: 18px; }
.scroll { overflow-x: auto; margin-top: 8px; }
.inner { font-size: 13.5px; }
.inner th { position: static; padding: 4px 14px 4px 0; text-align: left; font-size: 12px; font-weight: 600; color: var(--soft); box-shadow: none; background: none; white-space: nowrap; }
.inner td { padding: 4px 14px 4px 0; border-top: 1px solid var(--line); vertical-align: top; }
.inner td:not(:first-child) { white-space: nowrap; }
.kept { margin: 0; padding-left: 18px; font-size: 13.5px; }
.revocation summary { cursor: pointer; font-weight: 600; margin: 10px 0; }
.more { display: block; margin: 14px auto 0; padding: 7px 18px; background: var(--sheet); border: 1px solid var(--line); border-radius: 6px; cursor: pointer; }
.empty { padding: 28px; text-align: center; color: var(--soft); }
footer { margin-top: 36px; color: var(--soft); font-size: 13px; max-width: 70ch; }
.quiet { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

@media (max-width: 760px) {
  main { padding: 18px 14px 40px; }
  .filters .dates { width: 100%; }
  .filters .dates > * { flex: 1; }
}
@media (max-width: 1140px) {
  .rows { background: none; border: 0; }
  .rows > table, .rows > table > tbody { display: block; }
  .rows > table > thead { display: block; }
  .rows > table > thead > tr { display: flex; flex-wrap: wrap; gap: 4px 2px; }
  .rows th { position: static; width: auto; background: none; box-shadow: none; }
  .rows th button, .rows th:first-child button { padding: 4px 10px 4px 0; }
  .row, .detail, .detail > td { display: block; }
  .row { position: relative; display: grid; grid-template-columns: 1fr auto; gap: 0 10px; padding: 10px 12px 10px 16px; margin-top: 10px; border: 1px solid var(--line); border-radius: 8px; background: var(--sheet); box-shadow: inset 4px 0 var(--line); }
  .row.signed { box-shadow: inset 4px 0 var(--signed); } .row.waiting { box-shadow: inset 4px 0 var(--waiting); }
  .row.failed { box-shadow: inset 4px 0 var(--failed); }
  .row.rejected { box-shadow: inset 4px 0 var(--rejected); background: var(--rejected-bg); }
  .row.unproven { box-shadow: inset 4px 0 var(--unproven); background: var(--unproven-bg); }
  .rows .row > td, .rows .row > td:first-child, .rows .row:hover > td { border: 0; padding: 0; background: none; box-shadow: none; }
  .row td.what { grid-column: 1 / -1; grid-row: 2; font-size: 16px; margin: 2px 0; }
  .row td.when { color: var(--soft); font-size: 14px; }
  .row td.outcome { grid-row: 1; grid-column: 2; }
  .row td.asked, .row td.waited { font-size: 14px; color: var(--soft); }
  .row td.waited { text-align: right; }
  .row td.signed { grid-column: 1; font-size: 14px; color: var(--soft); }
  .row td.signed::after { content: ' signed'; }
  .row.rejected td.signed, .row.waiting td.signed, .row td.certificate, .row td.vouched { display: none; }
  .row.open { border-radius: 8px 8px 0 0; }
  .detail { border: 1px solid var(--line); border-top: 0; border-radius: 0 0 8px 8px; overflow: hidden; }
  .detail > td { padding: 14px; }
}
.dates { display: flex; gap: 12px; }

@media print {
  :root {
    color-scheme: light;
    --paper: #fff; --sheet: #fff; --ink: #000; --soft: #444; --line: #bbb; --faint: #f2f2f2;
    --signed: #155c36; --waiting: #164a85; --failed: #714800; --rejected: #971c15; --unproven: #7c146d;
    --signed-bg: #fff; --waiting-bg: #fff; --failed-bg: #fff; --rejected-bg: #fff; --unproven-bg: #fff;
  }
  body { font-size: 9.5pt; }
  main { max-width: none; padding: 0; }
  .filters, .more, .tip { display: none; }
  .rows th { position: static; }
  .rows > table { font-size: inherit; }
  .status { margin-top: 10px; }
  tr, .part, .problems li { break-inside: avoid; }
  .rows, .drawing { border-radius: 0; }
  button.what { padding-left: 0; } button.what::before { content: none; } .remark { margin-left: 0; }
  .badge { padding-left: 0; }
}
@media (prefers-reduced-motion: no-preference) { button.what::before { transition: transform 0.12s; } }
`;
