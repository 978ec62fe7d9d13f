import { usage } from '../../../lib/errors.ts';
import { printable } from '../../../lib/printable.ts';
import { KeyUnavailable } from '../signing-key.ts';
import type { ModuleInfo, TokenInfo } from './module-calls.ts';
import type { LibrarySelection, TokenSelection } from './uri.ts';
import { pathOf } from './write-uri.ts';

/** The most tokens or keys that an error lists. */
const MAX_LISTED = 10;

/** A list of names for a message, which ends after ten. */
export const listed = (names: readonly string[]): string =>
  names.slice(0, MAX_LISTED).join(', ') + (names.length > MAX_LISTED ? ', …' : '');

/** The path of a URI that fits a token alone, as far as label and serial number, else its slot, can say. */
export const tokenUri = ({ label, serial, slotId }: TokenInfo): string =>
  pathOf([
    ['token', label],
    ['serial', serial],
  ]) || pathOf([['slot-id', String(slotId)]]);

/** Names a token in a message. */
export const tokenName = ({ label, serial }: TokenInfo): string =>
  `${printable(label, 40)}${serial === '' ? '' : ` (serial ${printable(serial, 20)})`}`;

/** Whether a token is one that a URI selects. */
export const fitsToken = (token: TokenInfo, selection: TokenSelection): boolean => {
  const pairs: readonly (readonly [unknown, unknown])[] = [
    [selection.token, token.label],
    [selection.manufacturer, token.manufacturer],
    [selection.serial, token.serial],
    [selection.model, token.model],
    [selection.slotId, token.slotId],
    [selection.slotDescription, token.slotDescription],
    [selection.slotManufacturer, token.slotManufacturer],
  ];
  return pairs.every(([wanted, actual]) => wanted === undefined || wanted === actual);
};

/** The path of a URI that fits only one of two tokens; their slots may be all that differs. */
function apart(token: TokenInfo, another: TokenInfo): string {
  const slot = pathOf([['slot-id', String(token.slotId)]]);
  const uri = tokenUri(token);
  return token.serial === another.serial && uri !== slot ? `${uri};${slot}` : uri;
}

/**
 * The one token that a URI selects. Throws `token-missing` (unavailable: a token can be plugged in), and
 * `token-ambiguous` (usage).
 */
export function findToken(tokens: readonly TokenInfo[], selection: TokenSelection): TokenInfo {
  const fitting = tokens.filter((token) => fitsToken(token, selection));
  const [token, another] = fitting;
  if (!token)
    throw new KeyUnavailable('token-missing', 'the token of the signing key is not there', {
      hint:
        tokens.length === 0
          ? 'plug it in; the module shows no token at all. It is looked for again when the key is used next'
          : `plug it in, or correct the key's URI: the tokens that are there are ${listed(tokens.map(tokenName))}`,
    });
  if (another)
    throw usage(
      'token-ambiguous',
      `several tokens fit the URI of the signing key: ${listed(fitting.map(tokenName))}`,
      {
        hint: `add what tells them apart, such as ${apart(token, another)}`,
      },
    );
  return token;
}

/** Throws `pkcs11-library` (usage) unless the module is the one that the URI describes. */
export function checkLibrary(
  info: ModuleInfo,
  { manufacturer, description, version }: LibrarySelection,
): void {
  const differing = [
    ...(manufacturer === undefined || manufacturer === info.manufacturer
      ? []
      : [`library-manufacturer is ${printable(info.manufacturer)}`]),
    ...(description === undefined || description === info.description
      ? []
      : [`library-description is ${printable(info.description)}`]),
    ...(!version || (version.major === info.version.major && version.minor === info.version.minor)
      ? []
      : [`library-version is ${info.version.major}.${info.version.minor}`]),
  ];
  if (differing.length > 0)
    throw usage(
      'pkcs11-library',
      `the PKCS#11 module is not the one in the URI: its ${differing.join(', its ')}`,
      {
        hint: "correct the key's URI, or leave these attributes out",
      },
    );
}
