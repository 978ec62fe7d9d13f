import { usage } from '../../lib/errors.ts';

/** What decides which settings a key has: a file, a program, or something else outside of this process. */
type KeyPlace = 'pem' | 'pkcs12' | 'command' | 'elsewhere';

const NAMES: Readonly<Record<KeyPlace, string>> = {
  pem: 'a key in a PEM file',
  pkcs12: 'a key in a PKCS#12 file',
  command: 'a key that a command uses',
  elsewhere: 'a key on a token or in a service',
};

interface RestrictedSetting {
  readonly places: readonly KeyPlace[];
  readonly hint: string;
}

const OUTSIDE: RestrictedSetting = {
  places: ['command', 'elsewhere'],
  hint: 'take it out: signatures with a key in a file are made by this process, as fast as it can',
};

/** Settings that only some keys have. All others are those that name a key. */
const RESTRICTED = {
  keyName: {
    places: ['pkcs12'],
    hint: 'take it out: it chooses one of several keys in a PKCS#12 file',
  },
  passphraseFile: {
    places: ['pem', 'pkcs12'],
    hint: 'take it out: only files have a passphrase; the URI of a token names its PIN by pin-source, and services have credentials of their own (docs/keys.md)',
  },
  commandEnvironment: { places: ['command'], hint: 'take it out: only a command gets an environment' },
  concurrency: OUTSIDE,
  keyTimeout: OUTSIDE,
} satisfies Record<string, RestrictedSetting>;

type RestrictedName = keyof typeof RESTRICTED;

/**
 * Throws `key-setting` (usage) if a setting is there that keys of this kind do not have: without effect, it would let its
 * author believe something that is not so.
 */
export function requireOwnSettings(
  place: KeyPlace,
  settings: Readonly<Partial<Record<RestrictedName, unknown>>>,
): void {
  for (const name of Object.keys(RESTRICTED) as RestrictedName[]) {
    const { places, hint }: RestrictedSetting = RESTRICTED[name];
    if (settings[name] !== undefined && !places.includes(place))
      throw usage('key-setting', `signing.${name}: ${NAMES[place]} has no such setting`, { hint });
  }
}
