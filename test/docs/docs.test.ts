/** Checks that the documents agree with the program. */
import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { access, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { loadBuilderConfig, loadVoucherConfig } from '../../src/app/config/builder.ts';
import { loadAuditorConfig } from '../../src/app/config/auditor.ts';
import { loadCourierConfig } from '../../src/app/config/courier.ts';
import { loadSignerConfig } from '../../src/app/config/signer.ts';
import { SignpipeError } from '../../src/lib/errors.ts';
import { collectCodes, root, sourceFiles, unknownCodes, type Kind } from './error-codes.ts';
import { commandLines, readDocuments, tableRows, type Document } from './markdown.ts';

const documents = await readDocuments();
const codes = await collectCodes();

function documentAt(path: string): Document {
  const document = documents.find((each) => each.path === path);
  assert(document, `${path} is missing`);
  return document;
}

const KINDS: Record<Kind, true> = {
  usage: true,
  invalid: true,
  'not-allowed': true,
  alarm: true,
  unavailable: true,
  local: true,
  timeout: true,
};
const kinds = Object.keys(KINDS) as Kind[];
const exitStatus = (kind: Kind): number => new SignpipeError(kind, 'any', 'any').exitStatus;

/** The code spans in a table's cell: `` `a`, `b` ``. */
const spansOf = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, span = '']) => span);

async function withFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'signpipe-docs-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe('configuration examples in the documents', () => {
  const loaders = {
    signer: loadSignerConfig,
    builder: loadBuilderConfig,
    voucher: loadVoucherConfig,
    auditor: loadAuditorConfig,
    courier: loadCourierConfig,
  };
  const examples = documents.flatMap(({ path, blocks }) =>
    blocks.flatMap(({ info, lines }) => {
      const kind = /^yaml (signer|builder|voucher|auditor|courier)$/.exec(info)?.[1] as
        | keyof typeof loaders
        | undefined;
      return kind === undefined ? [] : [{ path, kind, text: lines.join('\n') }];
    }),
  );

  it('exist for each kind of site', () => {
    for (const wanted of Object.keys(loaders))
      assert(
        examples.some(({ kind }) => kind === wanted),
        wanted,
      );
  });

  for (const [index, { path, kind, text }] of examples.entries())
    it(`${path}: example ${index + 1} loads as ${kind}.yaml`, () =>
      withFolder(async (folder) => {
        const file = join(folder, `${kind}.yaml`);
        await writeFile(file, text);
        await loaders[kind](file);
      }));

  it('are marked: every YAML block that looks like a configuration says which kind it is', () => {
    for (const { path, blocks } of documents)
      for (const { info, lines } of blocks)
        if (info.startsWith('yaml') && lines.some((line) => line.startsWith('control:')))
          assert.match(info, /^yaml (signer|builder|voucher|auditor|courier)$/, `${path}: ${lines[0] ?? ''}`);
  });
});

describe('docs/configuration.md', () => {
  const { text } = documentAt('docs/configuration.md');
  const [signerPart = '', builderPart = ''] = text.split(/^## (?:builder|courier|voucher|auditor)\.yaml$/m);
  const keysIn = (part: string): string[] =>
    tableRows(part)
      .flatMap(([first = '']) => spansOf(first))
      .filter((key) => /^[a-z]/.test(key));
  const documented = { signer: keysIn(signerPart), builder: keysIn(builderPart) };

  /** Keys of the schemas, read from the source: names before a zod type, or before a shared part of a schema. */
  async function schemaKeys(name: 'signer' | 'builder'): Promise<Set<string>> {
    const source = await sourceFiles();
    const text = `${source.get('app/config/common-sections.ts') ?? ''}\n${source.get(`app/config/${name}.ts`) ?? ''}`;
    const code = text.replace(/'[^'\n]*'/g, "''");
    const types = 'z|path|branch|folder|duration|byteSize|control|glob|signingShape|trustShape';
    const matches = [...code.matchAll(new RegExp(`\\b([a-zA-Z]+):\\s(?!z\\.[A-Zoc])(?:${types})\\b`, 'g'))];
    return new Set(matches.map(([, key = '']) => key));
  }

  for (const name of ['signer', 'builder'] as const) {
    it(`names every key of ${name}.yaml`, async () => {
      const last = new Set(documented[name].flatMap((key) => key.split('.')));
      const keys = await schemaKeys(name);
      assert(keys.size > 10, 'the keys could be read from the source');
      for (const key of keys) assert(last.has(key), `${key} is not in the tables`);
    });

    it(`names no key that ${name}.yaml does not have`, () =>
      withFolder(async (folder) => {
        const load = name === 'signer' ? loadSignerConfig : loadBuilderConfig;
        for (const key of documented[name]) {
          const parts = key.replace('NAME', 'release').split('.');
          const [last = ''] = parts.slice(-1);
          const yaml = parts
            .slice(0, -1)
            .reduceRight((inner, part) => `{ ${part}: ${inner} }`, `{ ${last}: !!null }`);
          const file = join(folder, `${name}.yaml`);
          await writeFile(file, `${yaml}\n`);
          await assert.rejects(load(file), (error: unknown) => {
            assert(error instanceof SignpipeError && error.code === 'config-invalid', String(error));
            assert.doesNotMatch(error.message, /unknown key/, `${name}.yaml has no ${key}`);
            return true;
          });
        }
      }));
  }
});

describe('error codes', () => {
  const rows = tableRows(documentAt('docs/errors.md').text)
    .map(([first = '', second = '']) => ({ code: spansOf(first)[0] ?? '', kinds: second.split(', ') }))
    .filter(({ code }) => !kinds.includes(code as Kind));

  it('can all be read from the source', () => {
    assert.deepEqual(codes.unread, [], 'error-codes.ts has to know how to read these');
  });

  it('are all in docs/errors.md', () => {
    const listed = new Set(rows.map(({ code }) => code));
    assert.deepEqual(
      [...codes.kinds.keys()].filter((code) => !listed.has(code)),
      [],
    );
  });

  it('cover every text in source and dist that looks like a code', async () => {
    const unknown = await unknownCodes(new Set(rows.map(({ code }) => code)));
    assert.deepEqual(
      unknown,
      [],
      'add a row to docs/errors.md for each; if it is not a code, add it to OTHER_WORDS',
    );
  });

  it('have one row each, and no row is about a code that the source lacks', () => {
    const listed = rows.map(({ code }) => code);
    assert.deepEqual(
      listed.filter((code, i) => !codes.kinds.has(code) || listed.indexOf(code) !== i),
      [],
    );
  });

  it('have the same kinds as in the source', () => {
    for (const { code, kinds: documented } of rows)
      assert.deepEqual(new Set(documented), codes.kinds.get(code) ?? new Set(), code);
  });

  it('exist if a document mentions them', () => {
    const families = new Set([...codes.kinds.keys()].map((code) => code.split('-')[0] ?? ''));
    for (const { path, spans, blocks } of documents) {
      if (path === 'docs/errors.md') continue;
      const shown = blocks.flatMap(({ lines }) =>
        lines.flatMap((line) => /^signpipe: .*\[([a-z0-9-]+)\]$/.exec(line)?.[1] ?? []),
      );
      for (const code of shown) assert(codes.kinds.has(code), `${path}: ${code}`);
      for (const span of spans) {
        const isOne = /^[a-z0-9]+(?:-[a-z0-9]+)+$/.test(span) && families.has(span.split('-')[0] ?? '');
        if (isOne && !NO_CODES.has(span)) assert(codes.kinds.has(span), `${path}: ${span} is not a code`);
      }
    }
  });
});

/** Words in code spans that look like codes but are not. */
const NO_CODES: ReadonlySet<string> = new Set([
  ...kinds,
  'nuget-author',
  'ssh-keygen',
  'pkcs11-tool',
  'ssh-agent',
  'ssh-keyscan',
  'ssh-add',
  'git-shell',
  'no-touch-required',
  'script-host',
  'not-opened',
]);

describe('the exit status', () => {
  it('of each kind is in docs/errors.md', () => {
    const rows = tableRows(documentAt('docs/errors.md').text);
    for (const kind of kinds) {
      const row = rows.find(([first]) => first === `\`${kind}\``);
      assert.equal(row?.[2], String(exitStatus(kind)), kind);
    }
  });

  it('table of docs/command-line.md has every status, and its kinds', () => {
    const rows = tableRows(documentAt('docs/command-line.md').text).filter(([first = '']) =>
      /^`?\d`?$/.test(first),
    );
    const documented = new Map(
      rows.map(([first = '', , third = '']) => [Number(first.replaceAll('`', '')), spansOf(third)]),
    );
    const actual = new Map<number, string[]>([[0, []]]);
    for (const kind of kinds) actual.set(exitStatus(kind), [...(actual.get(exitStatus(kind)) ?? []), kind]);
    assert.deepEqual(new Set(documented.keys()), new Set(actual.keys()));
    for (const [status, names] of actual)
      assert.deepEqual(new Set(documented.get(status)), new Set(names), String(status));
  });
});

describe('source paths in code spans', () => {
  const pathsIn = ({ spans }: Document): string[] =>
    spans.filter((span) => /^(?:src|test)(?:\/[\w.-]+)*\/?$/.test(span));

  it('exist', async () => {
    for (const document of documents)
      for (const path of pathsIn(document))
        await access(join(root, path)).catch(() => assert.fail(`${document.path}: ${path} does not exist`));
  });
});

describe('docs/architecture.md', () => {
  const { spans } = documentAt('docs/architecture.md');
  const named = spans.filter((span) => /^(?:src|test)(?:\/[\w.-]+)*\/?$/.test(span));

  it('names source files by their whole path', () => {
    const others = spans.filter((span) => span.endsWith('.ts') && !named.includes(span));
    assert.deepEqual(new Set(others), new Set(['check-NAME.ts', '*.systems.ts']));
  });

  it('names every folder of src/ that has source files', async () => {
    const folders = [...(await sourceFiles()).keys()].map((file) => join('src', dirname(file)));
    const missing = [...new Set(folders)].filter((folder) => folder !== 'src' && !named.includes(folder));
    assert.deepEqual(missing, []);
  });
});

describe('links', () => {
  for (const { path, links } of documents)
    it(`of ${path} lead to files and headings that exist`, async () => {
      for (const link of links) {
        if (/^[a-z]+:/.test(link)) continue;
        const [file = '', anchor] = link.split('#');
        const target = file === '' ? path : join(dirname(path), file);
        await access(join(root, target)).catch(() => assert.fail(`${path}: ${link} leads nowhere`));
        const document = documents.find((each) => each.path === target);
        if (anchor !== undefined && document)
          assert(document.anchors.has(anchor), `${path}: no heading for ${link}`);
      }
    });
});

describe('command lines', () => {
  const run = promisify(execFile);
  const helps = new Map<string, Promise<string>>();
  const help = (args: readonly string[]): Promise<string> => {
    const key = args.join(' ');
    const output =
      helps.get(key) ??
      run(process.execPath, [join(root, 'dist', 'main.js'), ...args, '--help']).then((r) => r.stdout);
    helps.set(key, output);
    return output;
  };
  const COMMAND = /^ {2}([a-z]+)\b/gm;
  const namesIn = (text: string): Set<string> =>
    new Set([...(text.split(/^Commands:$/m)[1] ?? '').matchAll(COMMAND)].map(([, name = '']) => name));

  /** Splits a line as a shell would, as far as flags need it; quotes keep spaces together. */
  const wordsOf = (line: string): string[] =>
    [...line.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)].map(([word]) => word.replace(/^["']|["']$/g, ''));

  async function check(line: string): Promise<void> {
    const end = /\s(?:&&|\|\||\||>|2>|<|;)(?:\s|$)/.exec(line)?.index;
    const [, first = '', ...rest] = wordsOf(line.slice(0, end));
    if (first.startsWith('-')) {
      assert((await help([])).includes(first), line);
      return;
    }
    assert(namesIn(await help([])).has(first), `no such command: ${line}`);
    const below = namesIn(await help([first]));
    const nested = below.size > 0 && rest[0] !== undefined && /^[a-z]+$/.test(rest[0]);
    if (nested) assert(below.has(rest[0] ?? ''), `no such command: ${line}`);
    const text = await help(nested ? [first, rest[0] ?? ''] : [first]);
    for (const word of rest) {
      const flag = /^(-[a-zA-Z]|--[a-z][a-z-]*)(?==|$)/.exec(word.replace(/[\]`]+$/, ''))?.[1];
      if (flag !== undefined)
        assert(new RegExp(`(?:^|[ ,])${flag}\\b(?![a-z-])`, 'm').test(text), `no such flag ${flag}: ${line}`);
    }
  }

  for (const document of documents)
    it(`of ${document.path} name commands and flags that exist`, async () => {
      for (const line of commandLines(document)) await check(line);
    });

  it('are found in the documents', () => {
    assert(commandLines(documentAt('docs/setup.md')).length > 5);
  });

  it('of npm name scripts of package.json', async () => {
    const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    for (const { path, text } of documents)
      for (const [, name = ''] of text.matchAll(/\bnpm run (?:-s )?([a-z]+)/g))
        assert(scripts[name], `${path}: npm run ${name}`);
  });
});
