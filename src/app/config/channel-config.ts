import type { z } from 'zod';
import { KEY_SETTINGS } from '../../engine/keys/open.ts';
import type { ChannelOverrides, SigningConfig, TrustConfig } from './channel-sections.ts';
import { resolveChecksums, type ChecksumsConfig } from './checksums.ts';
import { resolvePaths, type ResolvePath } from './common-sections.ts';
import { requireOneKey, requireOtherKey, resolveSigning } from './key-settings.ts';

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

/** The sections of `signer.yaml` that make up its channels. */
interface ChannelSections {
  readonly signing: SigningConfig;
  readonly trust: TrustConfig;
  readonly checksums?: ChecksumsConfig | undefined;
  readonly provenance: boolean;
  readonly channels: Readonly<Record<string, ChannelOverrides>>;
}

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

/** What each channel has of its own, by its name; there is always one named `default`. */
const overridesOf = ({ channels }: Pick<ChannelSections, 'channels'>): [string, ChannelOverrides][] =>
  Object.entries({ default: NO_OVERRIDES, ...channels });

/** Refuses a channel that delivers files with checksum files only, and makes none. */
export function requireChecksums(value: ChannelSections, context: z.RefinementCtx): void {
  for (const [name, own] of overridesOf(value))
    if ((own.signing.others ?? value.signing.others) === 'checksum' && !checksumsOf(value.checksums, own))
      context.addIssue({
        code: 'custom',
        path: Object.hasOwn(value.channels, name) ? ['channels', name] : ['signing', 'others'],
        message: `checksum needs the section checksums, which the channel ${name} does not have (a channel with a signing key of its own inherits none)`,
      });
}

/** Checks the keys of the channels that have key settings of their own. */
export function requireChannelKeys(
  { signing: base, channels }: ChannelSections,
  context: z.RefinementCtx,
): void {
  for (const [name, { signing: own }] of Object.entries(channels)) {
    if (!hasKeySettings(own)) continue;
    const path = ['channels', name, 'signing'];
    const complete = overrideSigning(base, own);
    requireOneKey(complete, context, { path });
    requireOtherKey(complete, context, path);
  }
}

const sectionOf = (
  section: ChecksumsConfig | undefined,
  resolve: ResolvePath,
): Pick<ChannelConfig, 'checksums'> => (section ? { checksums: resolveChecksums(section, resolve) } : {});

/** The complete policies of all channels, with absolute paths. */
export function channelsOf(sections: ChannelSections, resolve: ResolvePath): Map<string, ChannelConfig> {
  const signing = resolveSigning(sections.signing, resolve);
  const trust = resolvePaths(sections.trust, resolve);
  return new Map(
    overridesOf(sections).map(([name, own]) => [
      name,
      {
        name,
        ...sectionOf(checksumsOf(sections.checksums, own), resolve),
        provenance: own.provenance ?? sections.provenance,
        signing: overrideSigning(signing, resolveSigning(own.signing, resolve)),
        trust: { ...trust, ...resolvePaths(own.trust, resolve) } as TrustConfig,
      },
    ]),
  );
}
