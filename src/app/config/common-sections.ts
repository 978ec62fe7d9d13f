import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { DEFAULT_LIMITS } from '../../lib/zip/limits.ts';
import { PUBLIC_ROOTS } from '../../engine/keys/trusted-roots.ts';
import { parseBytes, parseDuration } from './units.ts';

/** Makes a path of a configuration file absolute: paths are relative to the file. */
export type ResolvePath = (path: string) => string;

export const resolverFor = (file: string): ResolvePath => {
  const folder = dirname(resolve(file));
  return (path) => resolve(folder, path);
};

/** The keys whose value is a path, in every section. */
const PATHS: ReadonlySet<string> = new Set([
  'pfx',
  'certificate',
  'key',
  'passphraseFile',
  'publicKey',
  'roots',
  'timestampRoots',
  'allowedSigners',
  'receiptSigners',
  'revokedKeys',
  'identity',
  'knownHosts',
  'agent',
]);

/** Returns a section of a configuration with its paths made absolute. */
export function resolvePaths<T extends object>(section: T, resolve: ResolvePath): T {
  const absolute = Object.entries(section).map(([name, value]: [string, unknown]) => [
    name,
    PATHS.has(name) ? resolveValue(value, resolve) : value,
  ]);
  return Object.fromEntries(absolute) as T;
}

/** Makes a path or a list of paths absolute. The word `public` in a list is not a path. */
function resolveValue(value: unknown, resolve: ResolvePath): unknown {
  if (typeof value === 'string') return resolve(value);
  if (!Array.isArray(value)) return value;
  return value.map((each: unknown) =>
    typeof each === 'string' && each !== PUBLIC_ROOTS ? resolve(each) : each,
  );
}

/** The file, and what all configurations have whose paths must be made absolute. */
export const resolveCommon = <Ssh extends object>(
  raw: { ssh?: Ssh | undefined; state: string },
  file: string,
) => {
  const resolve = resolverFor(file);
  return { file, ...(raw.ssh ? { ssh: resolvePaths(raw.ssh, resolve) } : {}), state: resolve(raw.state) };
};

const nonEmpty = z.string().min(1, 'must not be empty');

export const path = nonEmpty;

/** Roots for timestamps: a PEM file, the word `public`, or a list of these. Its output is a list. */
export const timestampRoots = z
  .union([path, z.array(path).min(1, 'must name at least one').max(16)])
  .transform((value) => (typeof value === 'string' ? [value] : value));

const CONTROL_URL = /^(?:ssh|file):\/\/\S+$/;
const EXCHANGE_URL = /^(?:sftp|scp|file):\/\/\S+$/;

/** A branch name: a safe part of what git-check-ref-format allows. */
const branch = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9][A-Za-z0-9._-]*)*$/,
    'must be a plain branch name, such as main',
  )
  .refine(
    (name) => !name.includes('..') && !name.endsWith('.lock') && name.length <= 100,
    'must be a plain branch name, such as main',
  );

/** A folder of the exchange: a relative path with the characters that names in zipname may have. */
const folder = z
  .string()
  .regex(
    /^(?:[A-Za-z0-9_+@=][A-Za-z0-9._+@=-]*)(?:\/[A-Za-z0-9_+@=][A-Za-z0-9._+@=-]*)*$/,
    'must be a relative folder name, such as incoming',
  );

/** The section `control`: the repository of requests and receipts. */
export const control = z.strictObject({
  url: z.string().regex(CONTROL_URL, 'must be ssh://user@host/path, or file:///path'),
  requests: branch.default('main'),
  receipts: branch.default('signed'),
  roots: z
    .array(z.string().regex(/^[0-9a-f]{40}$/, 'must be a full commit id'))
    .min(1)
    .max(64)
    .optional(),
});

/** The section `exchange`: the place of the files. */
export const exchange = z.strictObject({
  url: z.string().regex(EXCHANGE_URL, 'must be sftp://user@host/path, scp://user@host/path, or file:///path'),
  incoming: folder.default('incoming'),
  outgoing: folder.default('signed'),
});

/** The section `ssh`: the connection to both hosts. Without an identity, the agent at SSH_AUTH_SOCK is used. */
export const ssh = z.strictObject({
  identity: path.optional(),
  passphraseFile: path.optional(),
  agent: path.optional(),
  knownHosts: path,
});

/** Refuses a configuration without a section `ssh` unless all URLs are `file://`. */
export function requireSsh(
  value: { control: { url: string }; exchange?: { url: string } | undefined; ssh?: unknown },
  context: z.RefinementCtx,
): void {
  const urls = [value.control.url, ...(value.exchange ? [value.exchange.url] : [])];
  if (urls.some((url) => !url.startsWith('file:')) && value.ssh === undefined)
    context.addIssue({
      code: 'custom',
      path: [],
      message: 'ssh: is missing: control.url or exchange.url is reached over SSH, which needs ssh.knownHosts',
    });
}

const size = z.union([z.int().nonnegative(), z.string()], {
  error: 'must be a size: 500MiB, 8GiB, or a whole number of bytes',
});

/** A size: a number of bytes, or text with a unit. Its output is in bytes. */
const byteSize = size.transform((value, context) => {
  const bytes = typeof value === 'number' ? value : parseBytes(value);
  if (bytes !== undefined) return bytes;
  context.addIssue({
    code: 'custom',
    message: `"${value}" is not a size: write 500MiB, 8GiB, or a number of bytes`,
  });
  return z.NEVER;
});

const timeSpan = z.union([z.literal(0), z.string()], {
  error: 'must be a time span with its unit, such as 30s, 10m, 2h or 1d',
});

/** A time span: `0`, or text with units. Its output is in milliseconds. */
export const duration = timeSpan.transform((value, context) => {
  const milliseconds = value === 0 ? 0 : parseDuration(value);
  if (milliseconds !== undefined) return milliseconds;
  context.addIssue({ code: 'custom', message: `"${value}" is not a time span: write 30s, 10m, 2h, 1d` });
  return z.NEVER;
});

/** The section `limits`: for zips that a signer or a builder reads. */
export const limits = z
  .strictObject({
    archive: byteSize.default(DEFAULT_LIMITS.archive),
    entries: z.int().positive().default(DEFAULT_LIMITS.entries),
    entry: byteSize.default(DEFAULT_LIMITS.entry),
    ratio: z.number().positive().default(DEFAULT_LIMITS.ratio),
  })
  .prefault({});
