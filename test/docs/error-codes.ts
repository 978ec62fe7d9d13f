/**
 * Reads every error code in src/, with its kinds, from the source text: from calls of the helpers in src/lib/errors.ts,
 * from `new SignpipeError`, and from the few places that compute a code, which are listed here one by one. A new such
 * place fails the test until it is listed.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export type Kind = 'usage' | 'invalid' | 'not-allowed' | 'alarm' | 'unavailable' | 'local' | 'timeout';

export interface Codes {
  /** Kinds by code. A `problem` is a line in a report, or the reason why a request waits, not an error. */
  readonly kinds: ReadonlyMap<string, ReadonlySet<Kind | 'problem'>>;
  /** Calls that compute their code in a way that is not listed here, as `file: call`. */
  readonly unread: readonly string[];
}

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** Helpers whose first argument is the code, with the kind of error that they make. */
const HELPERS: Record<string, Kind> = {
  invalid: 'invalid',
  notAllowed: 'not-allowed',
  unavailable: 'unavailable',
  usage: 'usage',
  alarm: 'alarm',
};

interface Computed {
  readonly file: string;
  readonly kind: Kind;
  /** Its first group is the code, or the part of it that varies. */
  readonly pattern: RegExp;
  readonly code: (found: string) => string;
}

const same = (found: string): string => found;

/** The places that compute their code: with a helper of one file, a constant, a table. */
const COMPUTED: readonly Computed[] = [
  { file: 'engine/keys/signing-key.ts', kind: 'unavailable', pattern: /(?!)/g, code: same }, // a copy keeps its code
  // An error in a worker thread keeps its code.
  { file: 'lib/concurrency/worker-pool.ts', kind: 'local', pattern: /(?!)/g, code: same },
  { file: 'lib/zip/read-zip.ts', kind: 'invalid', pattern: /(?!)/g, code: same }, // entry-paths.ts has the codes
  { file: 'lib/compound-file/faults.ts', kind: 'invalid', pattern: /\| '(cfb-[^']+)'/g, code: same },
  { file: 'lib/zip/entry-paths.ts', kind: 'invalid', pattern: /\brefuse\(\s*'([^']+)'/g, code: same },
  // A refusal has the code that the signer wrote into the receipt.
  { file: 'app/builder/wait.ts', kind: 'not-allowed', pattern: /(?!)/g, code: same },
  {
    file: 'lib/sshsig/allowed-signers.ts',
    kind: 'usage',
    pattern: /readConfigured\([^']*'([^']+)'/g,
    code: same,
  },
  { file: 'lib/git/commit-signature.ts', kind: 'not-allowed', pattern: /code: '([^']+)'/g, code: same },
  {
    file: 'lib/git/commit-graph.ts',
    kind: 'invalid',
    pattern: /(-not-a-file)`/g,
    code: () => 'zipname-not-a-file',
  },
  {
    file: 'lib/git/commit-graph.ts',
    kind: 'invalid',
    pattern: /'(entry)'\}-not-a-file`/g,
    code: (x) => `${x}-not-a-file`,
  },
  {
    file: 'lib/git/commit-graph.ts',
    kind: 'invalid',
    pattern: /(-not-a-file)`/g,
    code: () => 'hold-not-a-file',
  },
  { file: 'lib/sshsig/ssh-signature.ts', kind: 'invalid', pattern: /CODE = '([^']+)'/g, code: same },
  { file: 'lib/sshsig/sshsig.ts', kind: 'invalid', pattern: /CODE = '([^']+)'/g, code: same },
  { file: 'lib/sshsig/krl.ts', kind: 'usage', pattern: /CODE = '([^']+)'/g, code: same },
  { file: 'lib/sshsig/ssh-wire.ts', kind: 'invalid', pattern: /code = '([^']+)'/g, code: same },
  {
    file: 'lib/sshsig/ssh-key.ts',
    kind: 'invalid',
    pattern: /new SshReader\(\w+, \w+, '([^']+)'/g,
    code: same,
  },
  {
    file: 'lib/sshsig/ssh-signer.ts',
    kind: 'usage',
    pattern: /(?:code: |missing \? |missing \? 'ssh-key-missing' : |code = )'(ssh-[^']+)'/g,
    code: same,
  },
  { file: 'protocol/control/judge-heads.ts', kind: 'alarm', pattern: /(?!)/g, code: same }, // its helper is called `alarm`
  {
    file: 'protocol/control/zipname.ts',
    kind: 'invalid',
    pattern: /(?<=\brefuse\(\s*|NAME_LIMIT \? |'name-too-long' : )'([^']+)'/g,
    code: (x) => `zipname-${x}`,
  },
  {
    file: 'engine/keys/pkcs11/call-errors.ts',
    kind: 'unavailable',
    pattern: /super\('([^']+)'/g,
    code: same,
  },
  { file: 'engine/keys/key-file.ts', kind: 'usage', pattern: /(?!)/g, code: same }, // its callers say what
  { file: 'engine/keys/pfx.ts', kind: 'usage', pattern: /readingKeyFile\('([^']+)'/g, code: same },
  {
    file: 'engine/keys/pfx.ts',
    kind: 'usage',
    pattern: /readKeyFile\(path, '([^']+)'/g,
    code: (x) => `${x}-too-large`,
  },
  { file: 'engine/keys/pem.ts', kind: 'usage', pattern: /readingKeyFile\('([^']+)'/g, code: same },
  {
    file: 'engine/keys/pem.ts',
    kind: 'usage',
    pattern: /readKeyFile\(path, '([^']+)'/g,
    code: (x) => `${x}-too-large`,
  },
  ...['minisign-checksum-key', 'openpgp-keys'].map((name) => ({
    file: `engine/checksums/${name}.ts`,
    kind: 'usage' as const,
    pattern: /readKeyFile\(path, '([^']+)'/g,
    code: (x: string) => `${x}-too-large`,
  })),
  {
    file: 'engine/checksums/openpgp-keys.ts',
    kind: 'usage',
    pattern: /refusal: '(openpgp-[^']+)'/g,
    code: same,
  },
  {
    file: 'engine/artifact/attach-file.ts',
    kind: 'invalid',
    pattern: /'((?:rebuild|attached)-differs)'/g,
    code: same,
  },
  ...(['local', 'usage'] as const).map((kind) => ({
    file: 'lib/system-error.ts',
    kind,
    pattern: new RegExp(`code: '([^']+)',\\s*kind: '${kind}'`, 'g'),
    code: same,
  })),
  ...(['local', 'usage', 'unavailable'] as const).map((kind) => ({
    file: 'engine/keys/cloud/service-errors.ts',
    kind,
    pattern: new RegExp(`errorCode: '([^']+)',\\s*kind: '${kind}'`, 'g'),
    code: same,
  })),
  { file: 'engine/timestamp/timestamp-errors.ts', kind: 'invalid', pattern: /(?!)/g, code: same }, // its callers say what
  {
    file: 'engine/timestamp/token/token.ts',
    kind: 'invalid',
    pattern: /withTimestampCode\('([^']+)'/g,
    code: same,
  },
  ...['lib/x509/chain.ts', 'lib/x509/path-rules.ts'].map((file) => ({
    file,
    kind: 'invalid' as const,
    pattern: /\bchainProblem\(\s*'([^']+)'/g,
    code: (x: string) => `certificate-chain-${x}`,
  })),
];

/** Removes comments from a source; strings stay as they are. */
export function withoutComments(source: string): string {
  return source.replace(
    /('(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")|\/\*[^]*?\*\/|(^|[ \t(,;])\/\/[^\n]*/g,
    (_all, text: string | undefined, before: string | undefined) => text ?? before ?? '',
  );
}

export async function sourceFiles(): Promise<Map<string, string>> {
  const folder = join(root, 'src');
  const names = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.ts'));
  const texts = names.sort().map(async (name): Promise<[string, string]> => {
    return [name.replaceAll('\\', '/'), await readFile(join(folder, name), 'utf8')];
  });
  return new Map(await Promise.all(texts));
}

const LITERAL = /^'([a-z0-9-]+)'$/;

/** Texts that look like codes but are not: names from programs, protocols, packages and formats. */
const OTHER_WORDS: ReadonlySet<string> = new Set(
  `2023-06-15-preview accept-encoding accept-unpinned apple-double nested-zip not-allowed no-issuer aes-256-cbc copy-data library-description library-manufacturer library-version
  module-name module-path opensc-pkcs11 p11-kit-proxy pin-source slot-description slot-id slot-manufacturer x-environment x-sessions x-timeout valid-after valid-before builder-state cat-file cert-authority cli-progress clock-set code-signing courier-state
  content-length content-type digest-strength draft-2020-12 ecdsa-sha2-nistp256 ecdsa-sha2-nistp384
  ecdsa-sha2-nistp521 file-digest for-each-ref gpgsig-sha256 half-open ieee-p1363 in-place index-pack key-id lost-race ls-remote
  merge-base no-referrer no-touch-required nuget-author operation-location proxy-authorization proxy-from-env node-cron
  node-forge p-retry pre-receive retry-after rev-list rev-parse rsa-pss rsa-sha2-256 rsa-sha2-512 signed-attributes signer-state
  signpipe-doctor script-host require-signed not-opened
  signpipe-doctor-looks-for-nothing simple-git ssh-ed25519 ssh-rsa ssh2-sftp-client timeline-title timestamp-chain
  systemd-notify unsigned-parts update-ref user-agent utf-16le utf-8 verify-required`.split(/\s+/),
);

/** Prefixes that the source omits in some codes. */
const PREFIXES = ['certificate-chain-', 'zipname-'];

/** Whether a text that looks like a code is one of `known`, or is known not to be a code. */
const isKnown = (text: string, known: ReadonlySet<string>): boolean =>
  known.has(text) || OTHER_WORDS.has(text) || PREFIXES.some((prefix) => known.has(prefix + text));

/**
 * All quoted texts in the source and the compiled program that look like codes but are not `known`, as `file: text`:
 * however a code reaches the reader, it is somewhere as a text. Packages are left out, and so are the parts that report
 * no errors: the sandbox, the audit page and the build.
 */
export async function unknownCodes(known: ReadonlySet<string>): Promise<string[]> {
  const modules = [...(await sourceFiles()), ...(await shippedModules())];
  const found = modules
    .filter(([file]) => !/^(?:sandbox|build|audit-page)\//.test(file))
    .flatMap(([file, source]) =>
      [...withoutComments(source).matchAll(/(["'`])([a-z0-9]+(?:-[a-z0-9]+)+)\1/g)].map(
        ([, , text = '']) => [file, text] as const,
      ),
    );
  return found.filter(([, text]) => !isKnown(text, known)).map(([file, text]) => `${file}: ${text}`);
}

const MODULES = /(?:^ *\/\/ \S+\.(?:[cm]?js|ts|json)\n)+/gm;

/**
 * Our modules in the scripts of dist/, each below a comment with its name. A script made of several modules begins with
 * all their names: it is left out if one of them is a package.
 */
async function shippedModules(): Promise<[file: string, source: string][]> {
  const folder = join(root, 'dist');
  const scripts = (await readdir(folder)).filter((name) => name.endsWith('.js'));
  const texts = await Promise.all(scripts.map((name) => readFile(join(folder, name), 'utf8')));
  return texts.flatMap((text) => {
    const sources = text.split(MODULES).slice(1);
    return [...text.matchAll(MODULES)].flatMap(([names], i): [string, string][] =>
      names.includes('node_modules/')
        ? []
        : [[names.replace(/[^]*\/\/ /, '').trim(), (sources[i] ?? '').split('__commonJS')[0] ?? '']],
    );
  });
}

/** Collects the codes of src/, without the sandbox, whose servers have their own errors. */
export async function collectCodes(): Promise<Codes> {
  const kinds = new Map<string, Set<Kind | 'problem'>>();
  const unread: string[] = [];
  const add = (code: string, kind: Kind | 'problem'): void => {
    kinds.set(code, (kinds.get(code) ?? new Set()).add(kind));
  };
  for (const [file, source] of await sourceFiles()) {
    if (file === 'lib/errors.ts' || file.startsWith('sandbox/')) continue;
    const text = withoutComments(source);
    const computed = COMPUTED.filter((each) => each.file === file);
    for (const { kind, pattern, code } of computed)
      for (const [, found = ''] of text.matchAll(pattern)) add(code(found), kind);
    for (const [call, helper = '', first = ''] of text.matchAll(
      /(?<!function )\b(invalid|notAllowed|unavailable|usage|alarm)\(\s*('[^']*'|[^,)]*),/g,
    )) {
      const kind = HELPERS[helper];
      const code = LITERAL.exec(first.trim())?.[1];
      if (kind !== undefined && code !== undefined) add(code, kind);
      else if (computed.length === 0) unread.push(`${file}: ${call}`);
    }
    for (const [call, kind = '', first = ''] of text.matchAll(/new SignpipeError\(\s*([^,]*),\s*([^,]*),/g)) {
      const code = LITERAL.exec(first.trim())?.[1];
      if (code !== undefined) add(code, LITERAL.exec(kind.trim())?.[1] as Kind);
      else if (computed.length === 0) unread.push(`${file}: ${call}`);
    }
    for (const [call, first = ''] of text.matchAll(/new KeyUnavailable\(\s*([^,]*),/g)) {
      const code = LITERAL.exec(first.trim())?.[1];
      if (code !== undefined) add(code, 'unavailable');
      else if (computed.length === 0) unread.push(`${file}: ${call}`);
    }
    // A class of errors that names its own code.
    for (const [, kind = '', code = ''] of text.matchAll(/\bsuper\('([a-z-]+)', '([a-z0-9-]+)',/g))
      add(code, kind as Kind);
    if (file.startsWith('app/auditor/'))
      for (const [, code = ''] of text.matchAll(/findings\.add\(\s*'([^']+)'/g)) add(code, 'problem');
    if (file.startsWith('app/site/'))
      for (const [, code = ''] of text.matchAll(/(?:\b(?:bad|warning)\(\s*|code: )'([^']+)'/g))
        add(code, 'problem');
    if (file.startsWith('app/overview/'))
      for (const [, code = ''] of text.matchAll(/(?:\bcode: |\b(?:grave|minor)\(\s*)'([^']+)'/g))
        add(code, 'problem');
    if (file.startsWith('app/signer/'))
      for (const [, code = ''] of text.matchAll(
        /(?:(?:met: false,\s*|\{ channel, |log\.warn\(\s*\{ |\breport\(\{\s*)code: |\bunmet\(\s*)'([^']+)'/g,
      ))
        add(code, 'problem');
    if (file.startsWith('engine/') || /^lib\/x509\/\w+-findings\.ts$/.test(file))
      for (const [, code = ''] of text.matchAll(/\b(?:code: |finding\(\s*)'([^']+)'/g)) add(code, 'problem');
  }
  return { kinds, unread };
}
