/**
 * The audit page's script: draws the table, the timeline and the details from the JSON in the page. It runs in a
 * browser, alone: no network, no libraries, no markup made of text. Whatever the repository says goes through
 * `textContent`, and was made printable before it came here.
 */

/** @typedef {import('../model.ts').AuditRow} AuditRow */
/** @typedef {import('../model.ts').AuditedFile} AuditedFile */
/** @typedef {import('../model.ts').RowOutcome} RowOutcome */
/** @typedef {import('../model.ts').Audit} Audit */
/** @typedef {import('../revocation.ts').Revocation} Revocation */
/** @typedef {import('../revocation.ts').RevokedProgram} RevokedProgram */

/**
 * @typedef {object} AuditDocument
 * @property {string} repository
 * @property {string} signpipe
 * @property {string} auditedAt
 * @property {boolean} holds
 * @property {number} verifiedCommits
 * @property {Audit['heads']} heads
 * @property {Audit['receiptsBy']} receiptsBy
 * @property {{ by: string | null, since: string | null, reason: string, commit: string | null } | null} hold
 * @property {Audit['problems']} problems
 * @property {number} total
 * @property {AuditRow[]} rows
 * @property {Revocation} [revocation]
 */

/**
 * A row with what is asked of it again and again.
 * @typedef {object} Item
 * @property {AuditRow} row
 * @property {number} index
 * @property {number} when milliseconds: of the answer, of the request while there is none
 * @property {string} text everything that can be searched, in lower case
 */

/** @typedef {'when' | 'what' | 'asked' | 'vouched' | 'signed' | 'certificate' | 'waited' | 'outcome'} SortKey */

// --- making elements -------------------------------------------------------------------------

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Record<string, string | boolean | null>} attributes
 * @param {Child[]} content text becomes text, never markup
 * @returns {HTMLElementTagNameMap[K]}
 */
function el(name, attributes = {}, ...content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes))
    if (value !== null && value !== false) made.setAttribute(key, value === true ? '' : value);
  for (const each of content)
    if (each !== null && each !== undefined && each !== false)
      made.append(typeof each === 'number' ? String(each) : each);
  return made;
}

const SVG = 'http://www.w3.org/2000/svg';

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @param {(Node | string)[]} content
 */
function svg(name, attributes = {}, ...content) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...content);
  return made;
}

/** @template T @param {T | null | undefined} value @returns {T} */
function must(value) {
  if (value === null || value === undefined) throw new Error('the page is not whole');
  return value;
}

/** @param {string} id */
const byId = (id) => must(document.getElementById(id));

// --- words -----------------------------------------------------------------------------------

/** @type {readonly RowOutcome[]} */
const OUTCOMES = ['signed', 'waiting', 'failed', 'rejected', 'unproven'];

/** @type {Record<RowOutcome, string>} */
const MEANING = {
  signed: 'signed and delivered',
  waiting: 'not answered yet',
  failed: 'something was down; nothing was delivered',
  rejected: 'refused for good',
  unproven: 'there is a receipt, and it does not hold',
};

/** @param {number | string | null} time */
const minute = (time) =>
  time === null ? '–' : new Date(time).toISOString().slice(0, 16).replace('T', '\u00a0');
/** @param {string} time */
const second = (time) => `${new Date(time).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
/** @param {string} hex */
const short = (hex) => hex.slice(0, 12);
/** @param {number} count @param {string} one */
const plural = (count, one) => `${count.toLocaleString('en')} ${one}${count === 1 ? '' : 's'}`;

/** @param {number} milliseconds */
function span(milliseconds) {
  const seconds = Math.round(milliseconds / 1000);
  for (const [size, unit] of /** @type {const} */ ([
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'min'],
  ]))
    if (seconds >= size) return `${Math.floor(seconds / size)}\u00a0${unit}`;
  return `${seconds}\u00a0s`;
}

/** @param {number} bytes */
function size(bytes) {
  const units = ['bytes', 'KiB', 'MiB', 'GiB'];
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? ''}`;
}

/** @param {AuditRow} row */
const whatOf = (row) => row.files[0]?.input.name ?? (row.subject || '(nothing that can be read)');
/** @param {AuditRow} row */
const askedOf = (row) => row.askedBy?.principal ?? row.author;
/** @param {AuditRow} row */
const signedOf = (row) => row.files.reduce((sum, file) => sum + file.signed.length, 0);
/** @param {AuditRow} row */
const entriesOf = (row) => row.files.reduce((sum, file) => sum + file.entries, 0);
/** @param {string} subject */
const commonName = (subject) => /(?:^|, )CN="?((?:[^",\\]|\\.)*)/.exec(subject)?.[1] ?? subject;

/** @param {AuditRow} row */
function searchText(row) {
  const { request, receipt, subject, author, askedBy, vouchedBy, reason, certificate, files, problems } = row;
  const words = [
    request,
    receipt,
    subject,
    author,
    askedBy?.principal,
    askedBy?.key,
    row.channel,
    row.sourceRevision,
    row.outcome,
    reason?.code,
    reason?.message,
    certificate?.subject,
    certificate?.sha256,
    row.waitingFor,
    ...vouchedBy.flatMap(({ name, signer, key, commit }) => [name, signer, key, commit]),
    ...files.flatMap(({ input, output }) => [input.name, input.sha256, output?.name, output?.sha256]),
    ...files
      .flatMap(({ signed }) => signed)
      .flatMap(({ path, before, after }) => [path, before.sha256, after.sha256]),
    ...files.flatMap(({ kept }) => kept).flatMap(({ path, signer }) => [path, signer]),
    ...problems.flatMap(({ code, message }) => [code, message]),
  ];
  return words
    .filter((word) => word)
    .join('\n')
    .toLowerCase();
}

// --- state -----------------------------------------------------------------------------------

/** @type {AuditDocument} */
const data = JSON.parse(byId('data').textContent ?? '');
const NOW = new Date(data.auditedAt).getTime();

/** @type {Item[]} */
const items = data.rows.map((row, index) => ({
  row,
  index,
  when: new Date(row.answeredAt ?? row.requestedAt ?? data.auditedAt).getTime(),
  text: searchText(row),
}));

/** Rows that are put into the page at once; more come as one scrolls. */
const PORTION = 200;

const state = {
  words: /** @type {string[]} */ ([]),
  outcomes: new Set(OUTCOMES),
  from: -Infinity,
  to: Infinity,
  sort: /** @type {SortKey} */ ('when'),
  ascending: false,
  /** What passes the filters, in order. @type {Item[]} */
  found: [],
  /** How many of them are in the page. */
  drawn: 0,
  /** Whose details are open, by index. @type {Set<number>} */
  open: new Set(),
};

/** @type {Record<SortKey, (item: Item) => string | number>} */
const SORTS = {
  when: ({ when }) => when,
  what: ({ row }) => whatOf(row).toLowerCase(),
  asked: ({ row }) => askedOf(row).toLowerCase(),
  vouched: ({ row }) => row.vouchedBy.length,
  signed: ({ row }) => signedOf(row),
  certificate: ({ row }) => (row.certificate ? commonName(row.certificate.subject) : ''),
  waited: ({ row }) => row.waited ?? (row.requestedAt ? NOW - new Date(row.requestedAt).getTime() : -1),
  outcome: ({ row }) => -OUTCOMES.indexOf(row.outcome),
};

function find() {
  const key = SORTS[state.sort];
  const turn = state.ascending ? 1 : -1;
  const found = items.filter(
    ({ row, when, text }) =>
      state.outcomes.has(row.outcome) &&
      when >= state.from &&
      when <= state.to &&
      state.words.every((word) => text.includes(word)),
  );
  const keyed = found.map((item) => ({ item, value: key(item) }));
  keyed.sort((a, b) => (a.value < b.value ? -turn : a.value > b.value ? turn : b.item.index - a.item.index));
  state.found = keyed.map(({ item }) => item);
}

// --- signs: a shape and a colour for each outcome ------------------------------------------------

/** Each shape as a path around a point. @type {Record<RowOutcome, (x: number, y: number, r: number) => string>} */
const SHAPES = {
  signed: (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  waiting: (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  failed: (x, y, r) => `M${x} ${y - r * 1.15}l${r * 1.15} ${r * 2}h${-2.3 * r}z`,
  rejected: (x, y, r) => `M${x - r} ${y - r}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}`,
  unproven: (x, y, r) =>
    `M${x} ${y - r * 1.3}l${1.3 * r} ${1.3 * r}l${-1.3 * r} ${1.3 * r}l${-1.3 * r} ${-1.3 * r}z`,
};

/** @param {RowOutcome} outcome */
const sign = (outcome) =>
  svg(
    'svg',
    { class: `sign ${outcome}`, viewBox: '0 0 16 16', width: 14, height: 14, 'aria-hidden': 'true' },
    svg('path', { d: SHAPES[outcome](8, 8, 4.6) }),
  );

const checkMark = () =>
  svg(
    'svg',
    { class: 'sign check', viewBox: '0 0 16 16', 'aria-hidden': 'true' },
    svg('path', { d: 'M2.5 8.5l3.7 3.8 7.3-8' }),
  );

/** @param {RowOutcome} outcome */
const badge = (outcome) =>
  el('span', { class: `badge ${outcome}`, title: MEANING[outcome] }, sign(outcome), outcome);

// --- the head --------------------------------------------------------------------------------

function drawVerdict() {
  const { holds, problems, verifiedCommits } = data;
  const verdict = byId('verdict');
  verdict.classList.add(holds ? 'holds' : 'broken');
  verdict.append(
    holds ? checkMark() : sign('unproven'),
    holds
      ? `Every signature and every link holds (${plural(verifiedCommits, 'commit')} verified).`
      : `This history does not hold: ${plural(problems.length, 'problem')}. Nothing below is proved until that is explained.`,
  );
  if (holds) return;
  const list = el('ol', { class: 'problems' });
  for (const { code, commit, message } of problems.slice(0, 200))
    list.append(
      el('li', {}, el('code', { class: 'code' }, code), ' at ', hash(commit), el('p', {}, message)),
    );
  if (problems.length > 200) list.append(el('li', {}, `and ${problems.length - 200} more`));
  verdict.after(el('section', { 'aria-label': 'Problems' }, list));
}

function drawFacts() {
  const { repository, receiptsBy, heads, auditedAt, hold, rows, total } = data;
  byId('repository').textContent = repository;
  const facts = byId('facts');
  /** @param {string} name @param {Child[]} content */
  const fact = (name, ...content) =>
    facts.append(el('div', {}, el('dt', {}, name), el('dd', {}, ...content)));
  fact('Audited', second(auditedAt));
  if (receiptsBy)
    fact('Receipts by', receiptsBy.principal, ' ', el('span', { class: 'hash' }, receiptsBy.key));
  fact(
    'Branches',
    'requests ',
    heads.requests ? hash(heads.requests, true) : 'none',
    ', receipts ',
    heads.receipts ? hash(heads.receipts, true) : 'none',
  );
  if (rows.length < total)
    fact('Shown', `${rows.length.toLocaleString('en')} of ${plural(total, 'row')}, as was asked`);
  if (!hold) return;
  const since = hold.since ? ` since ${second(hold.since)}` : '';
  byId('facts').after(
    el(
      'p',
      { class: 'hold', role: 'note' },
      el('strong', {}, 'On hold'),
      `${since}, by ${hold.by ?? 'somebody unknown'}${hold.reason === '' ? '' : `: ${hold.reason}`}`,
    ),
  );
}

/** @param {string} hex @param {boolean} [brief] */
const hash = (hex, brief = false) =>
  el('code', { class: 'hash', title: brief ? hex : null }, brief ? short(hex) : hex);

/** @param {Revocation} revocation */
function drawRevocation({ subject, certificate, at, killed, surviving }) {
  const section = el(
    'section',
    { class: 'revocation', 'aria-labelledby': 'revocation-title' },
    el('h2', { id: 'revocation-title' }, 'If the certificate is revoked'),
    el('p', {}, `${subject}, as of ${second(at)}`),
    el('p', {}, hash(certificate)),
    programTable(`${plural(killed.length, 'signature')} that die`, killed, 'rejected'),
    programTable(`${plural(surviving.length, 'signature')} that survive by timestamp`, surviving, 'signed'),
  );
  byId('timeline').before(section);
}

/** @param {string} title @param {readonly RevokedProgram[]} programs @param {RowOutcome} outcome */
function programTable(title, programs, outcome) {
  const rows = programs.map(({ timestamp, file, path, sha256, why }) =>
    el(
      'tr',
      {},
      el('td', {}, minute(timestamp)),
      el('td', {}, file, path === '' ? '' : ` › ${path}`),
      el('td', {}, hash(sha256, true)),
      el('td', {}, why),
    ),
  );
  const head = el(
    'tr',
    {},
    ...['Stamped (UTC)', 'Program', 'SHA-256', 'Why'].map((each) => el('th', { scope: 'col' }, each)),
  );
  return el(
    'details',
    { open: programs.length < 50 },
    el('summary', {}, sign(outcome), ' ', title),
    programs.length > 0 &&
      el(
        'div',
        { class: 'scroll' },
        el('table', { class: 'inner' }, el('thead', {}, head), el('tbody', {}, ...rows)),
      ),
  );
}

// --- filters ---------------------------------------------------------------------------------

function drawFilters() {
  const chips = byId('outcomes');
  for (const outcome of OUTCOMES) {
    const count = items.filter(({ row }) => row.outcome === outcome).length;
    const box = el('input', { type: 'checkbox', checked: true, value: outcome });
    box.addEventListener('change', () => {
      if (box.checked) state.outcomes.add(outcome);
      else state.outcomes.delete(outcome);
      refresh();
    });
    chips.append(
      el(
        'label',
        { class: `chip ${outcome}${count === 0 ? ' none' : ''}`, title: MEANING[outcome] },
        box,
        sign(outcome),
        `${outcome} `,
        el('b', {}, count.toLocaleString('en')),
      ),
    );
  }
  const search = /** @type {HTMLInputElement} */ (byId('search'));
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  search.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      state.words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      refresh();
    }, 80);
  });
  /** @param {string} id @param {(time: number) => void} set @param {number} none */
  const day = (id, set, none) => {
    const input = /** @type {HTMLInputElement} */ (byId(id));
    input.addEventListener('change', () => {
      set(input.value === '' ? none : new Date(`${input.value}T00:00:00Z`).getTime());
      refresh();
    });
  };
  day('from', (time) => (state.from = time), -Infinity);
  day('to', (time) => (state.to = time + 86_400_000 - 1), Infinity);
  byId('filters').addEventListener('submit', (event) => event.preventDefault());
}

// --- the table -------------------------------------------------------------------------------

/** @type {readonly (readonly [SortKey, string])[]} */
const COLUMNS = [
  ['when', 'When (UTC)'],
  ['what', 'What'],
  ['asked', 'Asked by'],
  ['vouched', 'Vouched by'],
  ['signed', 'Signed'],
  ['certificate', 'Certificate'],
  ['waited', 'Waited'],
  ['outcome', 'Outcome'],
];

/** @type {Map<SortKey, HTMLTableCellElement>} */
const heads = new Map();

function drawHead() {
  const line = el('tr', { role: 'row' });
  for (const [key, title] of COLUMNS) {
    const button = el(
      'button',
      { type: 'button' },
      title,
      el('span', { class: 'arrow', 'aria-hidden': 'true' }),
    );
    button.addEventListener('click', () => {
      state.ascending =
        state.sort === key ? !state.ascending : ['what', 'asked', 'certificate'].includes(key);
      state.sort = key;
      refresh();
    });
    const cell = el('th', { scope: 'col', role: 'columnheader', class: key }, button);
    heads.set(key, cell);
    line.append(cell);
  }
  byId('head').append(line);
}

function showSort() {
  for (const [key, cell] of heads)
    if (key === state.sort) cell.setAttribute('aria-sort', state.ascending ? 'ascending' : 'descending');
    else cell.removeAttribute('aria-sort');
}

/** @param {AuditRow} row */
function remarkOf(row) {
  const [problem] = row.problems;
  if (problem) return `${problem.code}: ${problem.message}`;
  if (row.reason) return `${row.reason.code}: ${row.reason.message}`;
  return row.waitingFor === null ? null : `waits: ${row.waitingFor}`;
}

/** A text that may break before each `@`, where addresses are best broken. @param {string} text @returns {Child[]} */
const breakable = (text) => text.split(/(?=@)/).flatMap((part, i) => (i === 0 ? [part] : [el('wbr'), part]));

/** @param {AuditRow} row */
function askedCell(row) {
  if (row.askedBy) return breakable(row.askedBy.principal);
  if (row.author === '') return ['–'];
  return [
    el(
      'span',
      { class: 'claim', title: 'the commit’s own word; no signature proves it' },
      ...breakable(`(${row.author})`),
    ),
  ];
}

/** @param {Item} item */
function drawRow({ row, index }) {
  const id = `detail-${index}`;
  const isOpen = state.open.has(index);
  const more = row.files.length > 1 ? ` +${row.files.length - 1}` : '';
  const remark = remarkOf(row);
  const button = el(
    'button',
    { type: 'button', class: 'what', 'aria-expanded': String(isOpen), 'aria-controls': isOpen ? id : null },
    whatOf(row),
    more,
  );
  const signed = signedOf(row);
  /** @param {SortKey} key @param {Child[]} content */
  const cell = (key, ...content) =>
    el(
      'td',
      { role: 'cell', class: key, 'data-label': COLUMNS.find(([name]) => name === key)?.[1] ?? '' },
      ...content,
    );
  const line = el(
    'tr',
    { role: 'row', class: `row ${row.outcome}${isOpen ? ' open' : ''}`, id: `row-${index}` },
    cell('when', minute(row.answeredAt ?? row.requestedAt)),
    cell('what', button, remark !== null && el('span', { class: 'remark' }, remark)),
    cell('asked', ...askedCell(row)),
    cell('vouched', ...breakable(row.vouchedBy.map(({ signer }) => signer).join(', ') || '–')),
    cell('signed', signed > 0 ? `${signed} of ${entriesOf(row)}` : '–'),
    cell(
      'certificate',
      row.certificate
        ? el('span', { title: row.certificate.sha256 }, commonName(row.certificate.subject))
        : '–',
      row.certificate && row.test && el('b', { class: 'test' }, ' TEST'),
    ),
    cell('waited', row.waited === null ? sofar(row) : span(row.waited)),
    cell('outcome', badge(row.outcome)),
  );
  line.addEventListener('click', (event) => {
    const target = /** @type {Element} */ (event.target);
    const selects = (getSelection()?.toString() ?? '') !== '';
    if (target.closest('button') || !selects) toggle(index);
  });
  return isOpen ? [line, drawDetail(row, id)] : [line];
}

/** @param {AuditRow} row */
function sofar(row) {
  if (row.outcome !== 'waiting' || row.requestedAt === null) return '–';
  const time = NOW - new Date(row.requestedAt).getTime();
  return time < 0 ? '–' : `${span(time)}\u00a0…`;
}

/** @param {number} until */
function drawRows(until) {
  const body = byId('rows');
  const more = state.found.slice(state.drawn, until);
  body.append(...more.flatMap(drawRow));
  state.drawn += more.length;
  const left = state.found.length - state.drawn;
  byId('more').hidden = left === 0;
  byId('more').textContent = `Show all ${state.found.length.toLocaleString('en')} rows`;
}

/** Opens or closes the details of a row, which is in the page. @param {number} index */
function toggle(index) {
  const line = byId(`row-${index}`);
  const button = must(line.querySelector('button'));
  const isOpen = !state.open.has(index);
  const id = `detail-${index}`;
  if (isOpen) {
    state.open.add(index);
    line.after(drawDetail(must(items[index]).row, id));
    button.setAttribute('aria-controls', id);
  } else {
    state.open.delete(index);
    byId(id).remove();
    button.removeAttribute('aria-controls');
  }
  line.classList.toggle('open', isOpen);
  button.setAttribute('aria-expanded', String(isOpen));
}

/** Brings a row into the page and into view, its details open. @param {number} index */
function reveal(index) {
  const place = state.found.findIndex((item) => item.index === index);
  if (place < 0) return;
  if (place >= state.drawn) drawRows(place + PORTION);
  if (!state.open.has(index)) toggle(index);
  const line = byId(`row-${index}`);
  line.scrollIntoView({ block: 'center' });
  must(line.querySelector('button')).focus({ preventScroll: true });
}

function refresh() {
  find();
  byId('rows').replaceChildren();
  state.drawn = 0;
  drawRows(PORTION);
  showSort();
  const { found } = state;
  byId('status').textContent =
    found.length === items.length
      ? plural(items.length, 'row')
      : `${found.length.toLocaleString('en')} of ${plural(items.length, 'row')}`;
  byId('empty').hidden = found.length > 0;
  drawTimeline();
}

// --- details ---------------------------------------------------------------------------------

/** @param {AuditRow} row @param {string} id */
function drawDetail(row, id) {
  const detail = el(
    'td',
    { colspan: String(COLUMNS.length), role: 'cell' },
    ...problemPart(row),
    el('div', { class: 'parts' }, requestPart(row), ...answerPart(row), ...certificatePart(row)),
    ...row.files.map(filePart),
    ...vouchPart(row),
  );
  const line = el('tr', { class: `detail ${row.outcome}`, role: 'row', id }, detail);
  line.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    const index = Number(id.slice('detail-'.length));
    toggle(index);
    must(byId(`row-${index}`).querySelector('button')).focus();
  });
  return line;
}

/** A heading with names and values; values that are null are left out. @param {string} title @param {(readonly [string, ...Child[]] | null)[]} pairs */
function part(title, pairs) {
  const list = el('dl');
  for (const pair of pairs) {
    if (!pair) continue;
    const [name, ...content] = pair;
    list.append(el('dt', {}, name), el('dd', {}, ...content));
  }
  return el('section', { class: 'part' }, el('h3', {}, title), list);
}

/** @param {AuditRow} row */
function problemPart(row) {
  if (row.problems.length === 0) return [];
  const list = row.problems.map(({ code, message }) =>
    el('li', {}, el('code', { class: 'code' }, code), ' ', message),
  );
  const claimed = row.claimed ? ` It claims: ${row.claimed}.` : '';
  return [
    el(
      'div',
      { class: 'alarm' },
      el('strong', {}, `This answer does not hold.${claimed}`),
      el('ul', {}, ...list),
    ),
  ];
}

/** @param {AuditRow} row */
function requestPart(row) {
  return part('Request', [
    ['Commit', hash(row.request)],
    row.askedBy
      ? ['Signed by', row.askedBy.principal, ' ', el('span', { class: 'hash' }, row.askedBy.key)]
      : ['Signed by', 'nobody who is known'],
    ['Author', row.author || '–'],
    ['Message', row.subject || '–'],
    row.requestedAt === null ? null : ['Committed', second(row.requestedAt)],
    row.sourceRevision === null ? null : ['Source revision', row.sourceRevision],
    ['Channel', row.channel],
  ]);
}

const STAGES = /** @type {const} */ (['seen', 'fetched', 'signed', 'delivered', 'answered']);

/** When each stage was done. @param {AuditRow} row @returns {(readonly [string, string])[]} */
function timePairs({ times, answeredAt }) {
  if (!times) return answeredAt ? [['Committed', second(answeredAt)]] : [];
  return STAGES.flatMap((stage) => (times[stage] ? [[stageName(stage), second(times[stage])]] : []));
}

/** @param {AuditRow} row */
function answerPart(row) {
  if (row.receipt === null)
    return row.waitingFor === null ? [] : [part('Waiting', [['For', row.waitingFor]])];
  const { reason } = row;
  return [
    part('Receipt', [
      ['Commit', hash(row.receipt)],
      ['Outcome', badge(row.outcome)],
      reason ? ['Reason', el('code', { class: 'code' }, reason.code), ' ', reason.message] : null,
      reason?.hint === undefined ? null : ['Hint', reason.hint],
      ...timePairs(row),
      row.signpipe === null ? null : ['Written by', `signpipe ${row.signpipe}`],
    ]),
  ];
}

/** @param {string} stage */
const stageName = (stage) => stage.charAt(0).toUpperCase() + stage.slice(1);

/** @param {AuditRow} row */
function certificatePart({ certificate, test }) {
  if (!certificate) return [];
  const { subject, issuer, serial, sha256, notBefore, notAfter } = certificate;
  return [
    part('Certificate', [
      ['Subject', subject, test && el('b', { class: 'test' }, ' TEST')],
      ['Issuer', issuer],
      ['Serial', el('span', { class: 'hash' }, serial)],
      ['SHA-256', hash(sha256)],
      ['Valid', `${notBefore.slice(0, 10)} to ${notAfter.slice(0, 10)}`],
    ]),
  ];
}

/** @param {AuditedFile} file */
function filePart({ input, output, signed, kept, entries }) {
  const facts = [
    input.size === undefined ? null : size(input.size),
    entries > 1 ? plural(entries, 'file') : null,
    output ? `delivered: ${size(output.size)}` : null,
  ].filter(Boolean);
  return el(
    'section',
    { class: 'file' },
    el('h3', {}, input.name, facts.length > 0 && el('span', { class: 'aside' }, ` ${facts.join(' · ')}`)),
    el(
      'dl',
      {},
      ...(input.sha256 ? [el('dt', {}, 'As sent'), el('dd', {}, hash(input.sha256))] : []),
      ...(output?.sha256 ? [el('dt', {}, 'As delivered'), el('dd', {}, hash(output.sha256))] : []),
    ),
    signed.length > 0 && entryTable(signed),
    kept.length > 0 &&
      el(
        'div',
        {},
        el('h4', {}, 'Left as others signed them'),
        el('ul', { class: 'kept' }, ...kept.map(({ path, signer }) => el('li', {}, path, ' — ', signer))),
      ),
  );
}

/** @param {AuditedFile['signed']} entries */
function entryTable(entries) {
  const titles = ['Program', 'Unsigned SHA-256', 'Signed SHA-256', 'Authenticode digest', 'Timestamp (UTC)'];
  const rows = entries.map(({ path, before, after, authenticode, timestamp, proven }) =>
    el(
      'tr',
      { class: proven ? null : 'unproven' },
      el('td', {}, path || '(the file itself)', !proven && el('b', { class: 'test' }, ' NOT PROVEN')),
      el('td', {}, hash(before.sha256, true)),
      el('td', {}, hash(after.sha256, true)),
      el(
        'td',
        {},
        el('span', { class: 'aside' }, `${authenticode.algorithm} `),
        hash(authenticode.digest, true),
      ),
      el('td', { title: timestamp?.authority ?? null }, timestamp ? minute(timestamp.time) : 'none'),
    ),
  );
  return el(
    'div',
    { class: 'scroll' },
    el(
      'table',
      { class: 'inner' },
      el('thead', {}, el('tr', {}, ...titles.map((title) => el('th', { scope: 'col' }, title)))),
      el('tbody', {}, ...rows),
    ),
  );
}

/** @param {AuditRow} row */
function vouchPart({ vouchedBy }) {
  if (vouchedBy.length === 0) return [];
  const list = vouchedBy.map(({ name, signer, key, commit }) =>
    el('li', {}, `${signer}, on vouch/${name} `, hash(commit, true), ' ', el('span', { class: 'hash' }, key)),
  );
  return [
    el('section', { class: 'file' }, el('h3', {}, 'Vouches for the same bytes'), el('ul', {}, ...list)),
  ];
}

// --- the timeline ------------------------------------------------------------------------------

const DAY = 86_400_000;
const LANE = 30;
const EDGE = { left: 92, right: 18, top: 22, axis: 28 };

/** Where each answer was drawn. @type {{ x: number, y: number, item: Item }[]} */
let marks = [];

/** Steps of the axis in milliseconds, and how each is written. @type {readonly (readonly [number, (iso: string) => string])[]} */
const STEPS = [
  ...[1, 5, 15, 30, 60, 180, 360, 720].map(
    (minutes) =>
      /** @type {const} */ ([
        minutes * 60_000,
        (/** @type {string} */ iso) => iso.slice(5, 16).replace('T', ' '),
      ]),
  ),
  ...[1, 2, 7, 14].map(
    (days) => /** @type {const} */ ([days * DAY, (/** @type {string} */ iso) => iso.slice(0, 10)]),
  ),
];

/** Times on the axis: round ones, at most one in 110 pixels. @param {number} from @param {number} to @param {number} room */
function ticksOf(from, to, room) {
  const most = Math.max(2, Math.floor(room / 110));
  const step = STEPS.find(([size]) => (to - from) / size <= most);
  /** @type {{ time: number, label: string }[]} */
  const ticks = [];
  if (step) {
    const [size, label] = step;
    for (let time = Math.ceil(from / size) * size; time <= to; time += size)
      ticks.push({ time, label: label(new Date(time).toISOString()) });
    return ticks;
  }
  const months = [1, 2, 3, 6, 12, 24, 60, 120, 600].find((n) => (to - from) / (n * 30 * DAY) <= most) ?? 1200;
  const first = new Date(from);
  const start = Math.ceil((first.getUTCFullYear() * 12 + first.getUTCMonth()) / months) * months;
  for (let month = start; ; month += months) {
    const time = Date.UTC(Math.floor(month / 12), month % 12);
    if (time > to) return ticks;
    if (time >= from) ticks.push({ time, label: new Date(time).toISOString().slice(0, months < 12 ? 7 : 4) });
  }
}

/** From the first to the last answer, and a margin; a commit may claim any time, so requests do not count for more than a month. */
function domainOf() {
  let [from, to] = [Infinity, -Infinity];
  for (const { when, row } of state.found) {
    from = Math.min(from, when);
    to = Math.max(to, when);
    if (row.outcome === 'waiting') to = Math.max(to, NOW);
  }
  const earliest = from - 30 * DAY;
  for (const { row } of state.found) {
    const asked = row.requestedAt === null ? from : new Date(row.requestedAt).getTime();
    if (asked >= earliest) from = Math.min(from, asked);
  }
  const margin = Math.max((to - from) * 0.015, 60_000);
  return { from: from - margin, to: to + margin };
}

function drawTimeline() {
  const holder = byId('drawing');
  marks = [];
  byId('timeline').hidden = state.found.length === 0;
  if (state.found.length === 0) return holder.replaceChildren();
  const width = Math.max(320, holder.clientWidth);
  const lanes = OUTCOMES.filter((outcome) => state.found.some(({ row }) => row.outcome === outcome));
  const height = EDGE.top + LANE * (lanes.length + 0.6) + EDGE.axis;
  const { from, to } = domainOf();
  const left = width < 520 ? 74 : EDGE.left;
  const room = width - left - EDGE.right;
  /** @param {number} time */
  const x = (time) =>
    Math.min(Math.max(left + ((time - from) / (to - from)) * room, left), width - EDGE.right);
  const drawing = svg('svg', {
    class: state.found.length > room / 5 ? 'dense' : '',
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: 'img',
    'aria-label': `Timeline: ${lanes.map((outcome) => `${state.found.filter(({ row }) => row.outcome === outcome).length} ${outcome}`).join(', ')}; the table below has the same`,
  });
  drawing.append(axis(from, to, room, x, height, left));
  drawing.append(
    ...lanes.flatMap((outcome, i) => lane(outcome, EDGE.top + LANE * (i + 1.3), x, left, width)),
  );
  drawing.append(
    svg('text', { x: left - 12, y: EDGE.top + 4, class: 'lane' }, 'asked'),
    svg('path', {
      class: 'asked',
      d: state.found.map(({ row }) => `M${x(timeOf(row)).toFixed(1)} ${EDGE.top - 5}v10`).join(''),
    }),
    svg('circle', { class: 'halo', r: 9, visibility: 'hidden' }),
  );
  holder.replaceChildren(drawing);
}

/** When a row was asked for; of a commit that cannot be read, when it was answered. @param {AuditRow} row */
const timeOf = (row) => new Date(row.requestedAt ?? row.answeredAt ?? data.auditedAt).getTime();

/** @param {number} from @param {number} to @param {number} room @param {(time: number) => number} x @param {number} height @param {number} left */
function axis(from, to, room, x, height, left) {
  const bottom = height - EDGE.axis;
  const group = svg('g', { class: 'axis' }, svg('path', { d: `M${left} ${bottom}h${room}` }));
  for (const { time, label } of ticksOf(from, to, room)) {
    const at = x(time).toFixed(1);
    group.append(svg('path', { d: `M${at} ${EDGE.top - 8}V${bottom}`, class: 'grid' }));
    group.append(svg('text', { x: at, y: bottom + 17 }, label));
  }
  return group;
}

/** Lines from requests to one kind of answer, and its marks. @param {RowOutcome} outcome @param {number} y @param {(time: number) => number} x @param {number} left @param {number} width */
function lane(outcome, y, x, left, width) {
  let [lines, shapes] = ['', ''];
  for (const item of state.found) {
    if (item.row.outcome !== outcome) continue;
    const asked = x(timeOf(item.row));
    const answered = outcome === 'waiting' ? asked : x(item.when);
    lines += `M${asked.toFixed(1)} ${EDGE.top + 5}L${answered.toFixed(1)} ${y}`;
    if (outcome === 'waiting') lines += `H${x(NOW).toFixed(1)}`;
    shapes += SHAPES[outcome](Number(answered.toFixed(1)), y, 4);
    marks.push({ x: answered, y, item });
  }
  return [
    svg('path', { d: `M${left} ${y}H${width - EDGE.right}`, class: 'rail' }),
    svg('text', { x: left - 12, y: y + 4, class: `lane ${outcome}` }, outcome),
    svg('path', { d: lines, class: `link ${outcome}` }),
    svg('path', { d: shapes, class: `mark ${outcome}` }),
  ];
}

/** @param {PointerEvent | MouseEvent} event */
function markAt(event) {
  const box = byId('drawing').getBoundingClientRect();
  const [px, py] = [event.clientX - box.left + byId('drawing').scrollLeft, event.clientY - box.top];
  let best = null;
  let least = 14 ** 2;
  for (const mark of marks) {
    const distance = (mark.x - px) ** 2 + (mark.y - py) ** 2;
    if (distance < least) [best, least] = [mark, distance];
  }
  return best;
}

function listenTimeline() {
  const holder = byId('drawing');
  const tip = byId('tip');
  holder.addEventListener('pointermove', (event) => {
    const mark = markAt(event);
    const halo = holder.querySelector('.halo');
    tip.hidden = mark === null;
    holder.classList.toggle('hot', mark !== null);
    halo?.setAttribute('visibility', mark ? 'visible' : 'hidden');
    if (!mark) return;
    halo?.setAttribute('cx', String(mark.x));
    halo?.setAttribute('cy', String(mark.y));
    const { row } = mark.item;
    tip.replaceChildren(
      badge(row.outcome),
      el('strong', {}, ` ${whatOf(row)}`),
      el('br'),
      `asked ${minute(row.requestedAt)} by ${askedOf(row) || '?'}`,
      el('br'),
      row.answeredAt === null ? 'no answer yet' : `answered ${minute(row.answeredAt)}`,
    );
    const room = holder.clientWidth;
    tip.style.left = `${Math.min(Math.max(mark.x - 120, 0), Math.max(0, room - 250))}px`;
    tip.style.top = `${mark.y + 14}px`;
  });
  holder.addEventListener('pointerleave', () => {
    tip.hidden = true;
    holder.querySelector('.halo')?.setAttribute('visibility', 'hidden');
  });
  holder.addEventListener('click', (event) => {
    const mark = markAt(event);
    if (mark) reveal(mark.item.index);
  });
  let width = holder.clientWidth;
  new ResizeObserver(() => {
    if (holder.clientWidth === width) return;
    width = holder.clientWidth;
    drawTimeline();
  }).observe(holder);
}

// --- beginning -------------------------------------------------------------------------------

/** A page may be opened at a request or receipt: `audit.html#803d118645`. */
function openNamed() {
  const id = location.hash.slice(1).toLowerCase();
  if (!/^[0-9a-f]{7,40}$/.test(id)) return;
  const named = items.find(({ row }) => row.request.startsWith(id) || row.receipt?.startsWith(id));
  if (named) reveal(named.index);
}

drawVerdict();
drawFacts();
if (data.revocation) drawRevocation(data.revocation);
drawFilters();
drawHead();
refresh();
listenTimeline();
byId('more').addEventListener('click', () => drawRows(state.found.length));
new IntersectionObserver((entries) => {
  if (entries.some((entry) => entry.isIntersecting) && state.drawn < state.found.length)
    drawRows(state.drawn + PORTION);
}).observe(byId('end'));
addEventListener('beforeprint', () => drawRows(state.found.length));
addEventListener('hashchange', openNamed);
openNamed();
document.documentElement.dataset['ready'] = 'true';
