import { isDeepStrictEqual } from 'node:util';
import { validate } from 'node-cron';
import { z } from 'zod';
import {
  resolveCommon,
  duration,
  control,
  exchange,
  path,
  requireSsh,
  resolvePaths,
  resolverFor,
  ssh,
  timestampRoots,
  type ResolvePath,
  limits,
} from './common-sections.ts';
import { describeKey, KEY_SETTINGS, type KeySettings } from '../../engine/keys/open.ts';
import { resolveCommand } from '../../engine/keys/command/command-line.ts';
import { resolveKey } from '../../engine/keys/key-uri.ts';
import { SignpipeError } from '../../lib/errors.ts';
import { DEFAULT_FILES } from '../../engine/formats/program-names.ts';
import { checksums, resolveChecksums, type ChecksumsConfig } from './checksums.ts';
import { delivered, requireReplacing } from './delivered-path.ts';
import { requireTunnelHost, timestampAuthorities } from './timestamp-authorities.ts';
import { loadYaml, type YamlFile } from './yaml.ts';

const glob = z.string().min(1).max(1000);

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

const argument = z
  .string({ error: 'must be a text: write quotes around it' })
  .max(4096)
  .regex(/^[^\0]*$/, 'must not contain a NUL character');

const VARIABLE = /^(?!SIGNPIPE_)[A-Za-z_]\w{0,199}$/;

/** The settings that name a key; `KEY_SETTINGS` lists them. */
const keyShape = {
  pfx: path.optional(),
  certificate: path.optional(),
  key: path.optional(),
  keyName: z.string().optional(),
  passphraseFile: path.optional(),
  command: z
    .tuple([argument.min(1, 'must name a program')], argument, {
      error: 'must be a list: [PROGRAM, ARGUMENT, …]',
    })
    .refine((words) => words.length <= 100, 'has too many arguments')
    .optional(),
  commandEnvironment: z
    .array(z.string().regex(VARIABLE, 'must be the name of a variable, and not one of signpipe'))
    .max(100)
    .optional(),
  concurrency: z.int().min(1).max(256).optional(),
  keyTimeout: duration
    .refine((ms) => ms > 0 && ms <= 3_600_000, 'must be longer than 0, and at most 1h: 60s')
    .optional(),
};

/** The key and certificate that follow those in use. */
const successor = z
  .strictObject({
    ...keyShape,
    from: z
      .union([z.iso.date(), z.iso.datetime({ offset: true })], {
        error: ({ input }) =>
          `${input === undefined ? 'is missing: give' : 'must be'} a day, such as 2027-03-01 (from its begin in UTC), or a time, such as 2027-03-01T06:00:00Z`,
      })
      .transform((text) => new Date(text)),
  })
  .superRefine((value, context) => requireOneKey(value, context, { section: 'signing.successor' }));

const signingShape = {
  ...keyShape,
  successor: successor.optional(),
  digest: z.enum(['sha256', 'sha384', 'sha512']),
  files: z.array(glob).min(1, 'must name at least one pattern'),
  alreadySigned: z.enum(['keep', 'replace', 'append', 'reject']),
  others: z.enum(['checksum', 'reject']),
  timestamp: timestampAuthorities,
  timestampTimeout: duration.refine((ms) => ms > 0, 'must be longer than 0: 15s'),
  roots: path.optional(),
  timestampRoots: timestampRoots.optional(),
  name: z.string().max(200).optional(),
  url: z.string().max(500).optional(),
};

const trustShape = {
  allowedSigners: path.optional(),
  revokedKeys: path.optional(),
  unsignedRequests: z.enum(['reject', 'accept']),
  pins: z.enum(['require', 'accept-unpinned']),
  vouches: z.int().min(0).max(50),
  delay: duration,
  requesters: z.array(z.string().min(1)).min(1),
  names: z.array(glob).min(1),
};

const signing = z
  .strictObject({
    ...signingShape,
    digest: signingShape.digest.default('sha256'),
    files: signingShape.files.default([...DEFAULT_FILES]),
    alreadySigned: signingShape.alreadySigned.default('keep'),
    others: signingShape.others.default('reject'),
    timestampTimeout: signingShape.timestampTimeout.default(15_000),
  })
  .superRefine((value, context) => requireOneKey(value, context))
  .superRefine((value, context) => requireOtherKey(value, context));

const trust = z.strictObject({
  ...trustShape,
  unsignedRequests: trustShape.unsignedRequests.default('reject'),
  pins: trustShape.pins.default('require'),
  vouches: trustShape.vouches.default(0),
  delay: trustShape.delay.default(0),
  requesters: trustShape.requesters.default(['*']),
  names: trustShape.names.default(['**']),
});

const channel = z.strictObject({
  signing: z.strictObject(signingShape).partial().default({}),
  trust: z.strictObject(trustShape).partial().default({}),
  checksums: z.union([z.literal(false), checksums]).optional(),
  provenance: z.boolean('must be true or false').optional(),
});

const schema = z
  .strictObject({
    control: control.extend({
      poll: z
        .string()
        .default('* * * * * *')
        .refine(validate, 'must be a cron expression, seconds first, such as "*/10 * * * * *"'),
      timezone: z
        .string()
        .default('UTC')
        .refine(isTimeZone, 'must be a time zone such as UTC or Europe/Vienna'),
      since: z
        .string()
        .regex(/^[0-9a-f]{40}$/, 'must be a full commit id')
        .optional(),
    }),
    exchange: exchange
      .extend({ sparse: z.enum(['auto', 'never']).default('auto'), delivered })
      .superRefine(requireReplacing),
    ssh: ssh.optional(),
    signing,
    receipts: z.strictObject({
      key: path,
      passphraseFile: path.optional(),
      name: z.string().min(1).max(100).default('signpipe signer'),
    }),
    trust,
    checksums: checksums.optional(),
    provenance: z.boolean('must be true or false').default(false),
    state: path.default('state'),
    retry: z
      .strictObject({
        attempts: z.int().min(1).max(100).default(5),
        wait: duration.default(2000),
        for: duration.default(3_600_000),
      })
      .prefault({}),
    limits,
    channels: z
      .record(z.string().regex(/^[A-Za-z0-9._-]{1,50}$/, 'must be a plain channel name'), channel)
      .default({}),
  })
  .superRefine(requireSsh)
  .superRefine(({ exchange: at, signing: { timestamp }, channels }, context) => {
    requireTunnelHost(at, timestamp, ['signing', 'timestamp'], context);
    for (const [name, own] of Object.entries(channels))
      requireTunnelHost(at, own.signing.timestamp, ['channels', name, 'signing', 'timestamp'], context);
  })
  .superRefine(({ signing: { others }, checksums: section, channels }, context) => {
    const overrides: Record<string, ChannelOverrides> = { default: NO_OVERRIDES, ...channels };
    for (const [name, own] of Object.entries(overrides))
      if ((own.signing.others ?? others) === 'checksum' && !checksumsOf(section, own))
        context.addIssue({
          code: 'custom',
          path: Object.hasOwn(channels, name) ? ['channels', name] : ['signing', 'others'],
          message: `checksum needs the section checksums, which the channel ${name} does not have (a channel with a signing key of its own inherits none)`,
        });
  })
  .superRefine(({ signing: base, channels }, context) => {
    for (const [name, { signing: own }] of Object.entries(channels)) {
      if (!hasKeySettings(own)) continue;
      const path = ['channels', name, 'signing'];
      requireOneKey(overrideSigning(base, own), context, { path });
      requireOtherKey(overrideSigning(base, own), context, path);
    }
  })
  .superRefine((value, context) => {
    if (value.trust.unsignedRequests === 'reject' && value.trust.allowedSigners === undefined)
      context.addIssue({
        code: 'custom',
        path: ['trust'],
        message:
          'allowedSigners is missing: it lists who may request (without it: unsignedRequests: accept, only on a private Git host)',
      });
  });

/** Reports what is wrong with the settings of a key. `section` is what errors name instead of `signing`. */
function requireOneKey(
  signing: KeySettings,
  context: z.RefinementCtx,
  { path = [], section = 'signing' }: { readonly path?: string[]; readonly section?: string } = {},
): void {
  try {
    describeKey(signing);
  } catch (error) {
    if (!(error instanceof SignpipeError)) throw error;
    context.addIssue({
      code: 'custom',
      path,
      message: `${error.message}: ${error.hint}`.replaceAll('signing.', `${section}.`),
    });
  }
}

/** Refuses a successor that is the key in use itself. */
function requireOtherKey(
  signing: KeySettings & { readonly successor?: KeySettings | undefined },
  context: z.RefinementCtx,
  path: string[] = [],
): void {
  const { successor: next } = signing;
  if (next && KEY_SETTINGS.every((name) => isDeepStrictEqual(next[name], signing[name])))
    context.addIssue({
      code: 'custom',
      path: [...path, 'successor'],
      message: 'names the same key and certificate as signing itself: it is to name the next ones',
    });
}

type Raw = z.output<typeof schema>;

/** The section `signing` of a channel: which key signs what, and how. */
export type SigningConfig = Raw['signing'];

/** The section `trust` of a channel: who may request, and under which conditions. */
export type TrustConfig = Raw['trust'];

/** The complete policy of one channel: the defaults with its own overrides. */
export interface ChannelConfig {
  readonly name: string;
  readonly signing: SigningConfig;
  readonly trust: TrustConfig;
  /** Absent if the channel makes no checksum files. */
  readonly checksums?: ChecksumsConfig | undefined;
  /** Whether it states in a signed file beside each signed one how that was signed. */
  readonly provenance: boolean;
}

/** The checked content of `signer.yaml`, with absolute paths. */
export interface SignerConfig extends Omit<
  Raw,
  'channels' | 'signing' | 'trust' | 'checksums' | 'provenance'
> {
  /** The file that it was read from. */
  readonly file: string;
  /** The channels by name; there is always one named `default`. */
  readonly channels: ReadonlyMap<string, ChannelConfig>;
}

type ChannelOverrides = z.output<typeof channel>;

const NO_OVERRIDES = { signing: {}, trust: {} };

/** The settings of a key and of its successor: a channel with a key of its own inherits none. */
const OF_KEY: readonly (keyof SigningConfig)[] = [...KEY_SETTINGS, 'successor'];

const hasKeySettings = (own: ChannelOverrides['signing']): boolean =>
  OF_KEY.some((name) => own[name] !== undefined);

const namesOwnKey = ({ pfx, certificate, key, command }: ChannelOverrides['signing']): boolean =>
  (pfx ?? certificate ?? key ?? command) !== undefined;

/**
 * The section `checksums` of a channel. A channel with a signing key of its own does not inherit it: what a test channel
 * delivers must not be signed with the checksum keys of releases.
 */
function checksumsOf(
  base: ChecksumsConfig | undefined,
  { signing: own, checksums: section }: Pick<ChannelOverrides, 'signing' | 'checksums'>,
): ChecksumsConfig | undefined {
  if (section !== undefined) return section === false ? undefined : section;
  return namesOwnKey(own) ? undefined : base;
}

/** What a channel itself says about provenance. */
const makesProvenance = ({
  provenance,
}: Pick<ChannelOverrides, 'signing' | 'provenance'>): boolean | undefined => provenance;

/**
 * A channel that names a key inherits no key settings, and no successor: its pfx must not be mixed with the PEM files of
 * `signing`.
 */
function overrideSigning(base: SigningConfig, own: ChannelOverrides['signing']): SigningConfig {
  const namesKey = namesOwnKey(own);
  const ofKey = new Set<string>(namesKey ? OF_KEY : []);
  const inherited = Object.entries(base).filter(([name]) => !ofKey.has(name));
  return { ...Object.fromEntries(inherited), ...own } as SigningConfig;
}

/** Makes the paths of key settings absolute; the key may be a URI. */
function resolveKeyPaths<T extends KeySettings>(settings: T, resolve: ResolvePath): T {
  const { key, command, ...others } = settings;
  return {
    ...(resolvePaths(others, resolve) as T),
    ...(key === undefined ? {} : { key: resolveKey(key, resolve) }),
    ...(command === undefined ? {} : { command: resolveCommand(command, resolve) }),
  };
}

/** Makes the paths of a section `signing` absolute. */
function resolveSigning<T extends KeySettings & { readonly successor?: KeySettings | undefined }>(
  signing: T,
  resolve: ResolvePath,
): T {
  const { successor: next } = signing;
  const resolved = resolveKeyPaths(signing, resolve);
  return next ? { ...resolved, successor: resolveKeyPaths(next, resolve) } : resolved;
}

const sectionOf = (
  section: ChecksumsConfig | undefined,
  resolve: ResolvePath,
): Pick<ChannelConfig, 'checksums'> => (section ? { checksums: resolveChecksums(section, resolve) } : {});

function channelsOf(raw: Raw, resolve: ResolvePath): Map<string, ChannelConfig> {
  const base = { signing: resolveSigning(raw.signing, resolve), trust: resolvePaths(raw.trust, resolve) };
  const overrides = Object.entries({ default: NO_OVERRIDES, ...raw.channels });
  return new Map(
    overrides.map(([name, own]) => [
      name,
      {
        name,
        ...sectionOf(checksumsOf(raw.checksums, own), resolve),
        provenance: makesProvenance(own) ?? raw.provenance,
        signing: overrideSigning(base.signing, resolveSigning(own.signing, resolve)),
        trust: { ...base.trust, ...resolvePaths(own.trust, resolve) },
      },
    ]),
  );
}

/** Reads `signer.yaml`; throws `config-...` (usage) with file, line and column. */
export async function loadSignerConfig(file: string | YamlFile): Promise<SignerConfig> {
  const { path, raw } = await loadYaml(file, schema);
  const resolve = resolverFor(path);
  return {
    ...raw,
    ...resolveCommon(raw, path),
    receipts: resolvePaths(raw.receipts, resolve),
    channels: channelsOf(raw, resolve),
  };
}
