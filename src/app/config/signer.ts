import { validate } from 'node-cron';
import { z } from 'zod';
import { channelsOf, requireChannelKeys, requireChecksums, type ChannelConfig } from './channel-config.ts';
import { channel, signing, trust, type TrustConfig } from './channel-sections.ts';
import { checksums } from './checksums.ts';
import {
  control,
  duration,
  exchange,
  limits,
  path,
  requireSsh,
  resolveCommon,
  resolvePaths,
  resolverFor,
  ssh,
} from './common-sections.ts';
import { delivered, requireReplacing } from './delivered-path.ts';
import { health, metrics, notify } from './reporting-sections.ts';
import { resolveCommand } from '../../lib/command/resolve-command.ts';
import { requireTunnelHosts } from './timestamp-authorities.ts';
import { parseDuration } from './units.ts';
import { loadYaml, type YamlFile } from './yaml.ts';

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

/** Refuses a configuration that neither lists who may request nor accepts unsigned requests. */
function requireAllowedSigners(
  { trust: { unsignedRequests, allowedSigners } }: { readonly trust: TrustConfig },
  context: z.RefinementCtx,
): void {
  if (unsignedRequests === 'reject' && allowedSigners === undefined)
    context.addIssue({
      code: 'custom',
      path: ['trust'],
      message:
        'allowedSigners is missing: it lists who may request (without it: unsignedRequests: accept, only on a private Git host)',
    });
}

/** The shortest time between two polls, in ms. */
const SHORTEST_POLL = 100;

/** When to poll. Its output is the time between two polls, in ms, or a cron expression. */
const pollTimes = z
  .string()
  .default('1s')
  .transform((text, context): number | string => {
    const every = parseDuration(text);
    if (every === undefined ? validate(text) : every >= SHORTEST_POLL) return every ?? text;
    const message =
      every === undefined
        ? 'must be a time span, such as 500ms or 10s, or a cron expression, seconds first, such as "*/10 * * * * *"'
        : 'must be at least 100ms';
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });

/** How old a file on the exchange becomes before it is removed. Its output is in ms; null means that it is kept. */
const age = z
  .union([z.literal('never').transform(() => null), duration])
  .default(null)
  .refine((ms) => ms === null || ms >= 86_400_000, 'must be never, or at least 1d');

const schema = z
  .strictObject({
    control: control.extend({
      poll: pollTimes,
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
    housekeeping: z.strictObject({ incoming: age, outgoing: age }).prefault({}),
    health,
    metrics: metrics.optional(),
    notify: notify.optional(),
    watchdog: duration.refine((ms) => ms === 0 || ms >= 1000, 'must be 0, or at least 1s').default(1_800_000),
    channels: z
      .record(z.string().regex(/^[A-Za-z0-9._-]{1,50}$/, 'must be a plain channel name'), channel)
      .default({}),
  })
  .superRefine(requireSsh)
  .superRefine(requireTunnelHosts)
  .superRefine(requireChecksums)
  .superRefine(requireChannelKeys)
  .superRefine(requireAllowedSigners);

type Raw = z.output<typeof schema>;

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

/** Reads `signer.yaml`; throws `config-...` (usage) with file, line and column. */
export async function loadSignerConfig(file: string | YamlFile): Promise<SignerConfig> {
  const { path, raw } = await loadYaml(file, schema, 'signer');
  const resolve = resolverFor(path);
  return {
    ...raw,
    ...resolveCommon(raw, path),
    receipts: resolvePaths(raw.receipts, resolve),
    ...(raw.notify
      ? { notify: { ...raw.notify, command: resolveCommand(raw.notify.command, resolve) } }
      : {}),
    ...(raw.metrics ? { metrics: { file: resolve(raw.metrics.file) } } : {}),
    channels: channelsOf(raw, resolve),
  };
}
