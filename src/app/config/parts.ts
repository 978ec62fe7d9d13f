import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { DEFAULT_LIMITS } from '../../lib/zip/limits.ts';
import { PUBLIC_ROOTS } from '../../engine/keys/trusted-roots.ts';
import { parseBytes, parseDuration } from './units.ts';

/** Makes the paths of one configuration file absolute: they are relative to the file itself. */
export type Resolve = (path: string) => string;

export const resolverFor = (file: string): Resolve => {
  const folder = dirname(resolve(file));
  return (path) => resolve(folder, path);
};

/** The keys, wherever they stand, that hold a path. */
const PATHS: ReadonlySet<string> = new Set([
  'pfx',
  'certificate',
  'key',
  'passphraseFile',
  'roots',
  'timestampRoots',
  'allowedSigners',
  'revokedKeys',
  'identity',
  'knownHosts',
  'agent',
]);

/** The same part of a configuration with its paths made absolute. */
export function resolvePaths<T extends object>(part: T, resolve: Resolve): T {
  const absolute = Object.entries(part).map(([name, value]: [string, unknown]) => [
    name,
    PATHS.has(name) ? resolved(value, resolve) : value,
  ]);
  return Object.fromEntries(absolute) as T;
}

/** A list of paths may hold the word `public`, which is none. */
function resolved(value: unknown, resolve: Resolve): unknown {
  if (typeof value === 'string') return resolve(value);
  if (!Array.isArray(value)) return value;
  return value.map((each: unknown) =>
    typeof each === 'string' && each !== PUBLIC_ROOTS ? resolve(each) : each,
  );
}

/** What signer.yaml and builder.yaml alike need made absolute, and the file that they came from. */
export const commonOf = <Ssh extends object>(raw: { ssh?: Ssh | undefined; state: string }, file: string) => {
  const resolve = resolverFor(file);
  return { file, ...(raw.ssh ? { ssh: resolvePaths(raw.ssh, resolve) } : {}), state: resolve(raw.state) };
};

const nonEmpty = z.string().min(1, 'must not be empty');

export const path = nonEmpty;

/** Roots for timestamps: a PEM file, the word `public`, or a list of these; yields a list. */
export const timestampRoots = z
  .union([path, z.array(path).min(1, 'must name at least one').max(16)])
  .transform((value) => (typeof value === 'string' ? [value] : value));

const CONTROL_URL = /^(?:ssh|file):\/\/\S+$/;
const EXCHANGE_URL = /^(?:sftp|scp|file):\/\/\S+$/;

/** A branch name that is plainly safe (git-check-ref-format, and no more than we need of it). */
export const branch = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9][A-Za-z0-9._-]*)*$/,
    'must be a plain branch name, such as main',
  )
  .refine(
    (name) => !name.includes('..') && !name.endsWith('.lock') && name.length <= 100,
    'must be a plain branch name, such as main',
  );

/** A folder of the exchange: relative, of the same alphabet as the names in zipname. */
const folder = z
  .string()
  .regex(
    /^(?:[A-Za-z0-9_+@=][A-Za-z0-9._+@=-]*)(?:\/[A-Za-z0-9_+@=][A-Za-z0-9._+@=-]*)*$/,
    'must be a relative folder name, such as incoming',
  );

/** Where requests and receipts go. */
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

/** Where zips go. */
export const exchange = z.strictObject({
  url: z.string().regex(EXCHANGE_URL, 'must be sftp://user@host/path, scp://user@host/path, or file:///path'),
  incoming: folder.default('incoming'),
  outgoing: folder.default('signed'),
});

/** How the SSH hosts are reached. Without an identity the agent of SSH_AUTH_SOCK is asked. */
export const ssh = z.strictObject({
  identity: path.optional(),
  passphraseFile: path.optional(),
  agent: path.optional(),
  knownHosts: path,
});

/** Refuses a remote SSH URL without the ssh part; `file://` needs none. */
export function requireSsh(
  value: { control: { url: string }; exchange?: { url: string } | undefined; ssh?: unknown },
  context: z.RefinementCtx,
): void {
  const urls = [value.control.url, ...(value.exchange ? [value.exchange.url] : [])];
  if (urls.some((url) => !url.startsWith('file:')) && value.ssh === undefined)
    context.addIssue({
      code: 'custom',
      path: [],
      message: 'ssh: is missing: control.url or exchange.url is reached by SSH, and needs ssh.knownHosts',
    });
}

/** A size in the configuration: bytes, or text with a unit; yields bytes. */
export const byteSize = z.union([z.int().nonnegative(), z.string()]).transform((value, context) => {
  const bytes = typeof value === 'number' ? value : parseBytes(value);
  if (bytes !== undefined) return bytes;
  context.addIssue({
    code: 'custom',
    message: `"${value}" is no size: write 500MiB, 8GiB, or a number of bytes`,
  });
  return z.NEVER;
});

/** A time span in the configuration: `0`, or text with units; yields milliseconds. */
export const duration = z.union([z.literal(0), z.string()]).transform((value, context) => {
  const milliseconds = value === 0 ? 0 : parseDuration(value);
  if (milliseconds !== undefined) return milliseconds;
  context.addIssue({ code: 'custom', message: `"${value}" is no time span: write 30s, 10m, 2h, 1d` });
  return z.NEVER;
});

/** What is read of zips at most: on the signer, and on a builder that takes signed ones. */
export const limits = z
  .strictObject({
    archive: byteSize.default(DEFAULT_LIMITS.archive),
    entries: z.int().positive().default(DEFAULT_LIMITS.entries),
    entry: byteSize.default(DEFAULT_LIMITS.entry),
    ratio: z.number().positive().default(DEFAULT_LIMITS.ratio),
  })
  .prefault({});
