import { listTokensOf, type ListedToken } from '../../../engine/keys/pkcs11/list-tokens.ts';
import { certificateOf, objectUri } from '../../../engine/keys/pkcs11/find-key.ts';
import { tokenName } from '../../../engine/keys/pkcs11/find-token.ts';
import { logInByHand, pinState, UNLOCK_PIN } from '../../../engine/keys/pkcs11/login.ts';
import { signingMechanisms } from '../../../engine/keys/pkcs11/method.ts';
import { KEY_TYPE, type TokenKey } from '../../../engine/keys/pkcs11/module-calls.ts';
import { plural } from '../../../lib/plural.ts';
import { printable } from '../../../lib/printable.ts';
import { expiryOf } from '../../../lib/x509/expiry.ts';
import { bad, ok, resultOf, warning, type CheckResult } from './check-result.ts';

/** The most keys of a token that are listed. */
const MAX_KEYS = 20;

/** What the token says about its PIN; a few wrong ones lock it for good. */
function checkPin({ token, notLoggedIn }: ListedToken): CheckResult {
  const name = tokenName(token);
  switch (pinState(token)) {
    case 'pin-locked':
      return bad('pin-locked', `${name}: the PIN is locked`, UNLOCK_PIN);
    case 'pin-final-try':
      return bad('pin-final-try', `${name}: one more wrong PIN locks it`, logInByHand(token));
    case 'pin-count-low':
      return bad('pin-count-low', `${name}: the last login had a wrong PIN`, logInByHand(token));
    case undefined:
      return notLoggedIn
        ? resultOf(notLoggedIn)
        : ok(`${name}: the PIN is right, and no wrong one was noted`);
  }
}

/** Which of the mechanisms that sign programs the token has. */
function checkMechanisms({ mechanisms }: ListedToken): CheckResult {
  const names = signingMechanisms(mechanisms);
  return names.length > 0
    ? ok(
        `signs with ${names.join(', ')}, and has ${plural(mechanisms.length - names.length, 'other mechanism')}`,
      )
    : bad(
        'token-mechanism',
        'has no mechanism for RSA (CKM_RSA_PKCS) or ECDSA (CKM_ECDSA)',
        'use a token that signs with RSA or ECDSA',
      );
}

const typeOf = ({ type, modulus }: TokenKey): string =>
  type === KEY_TYPE.rsa
    ? `RSA${modulus ? ` ${8 * modulus.length}` : ''}`
    : type === KEY_TYPE.ec
      ? 'EC'
      : 'another type';

/** A private key with its certificate on the token, if it has one. */
function describeKey(key: TokenKey, { certificates }: ListedToken, now: Date): CheckResult {
  const own = certificateOf(key, certificates);
  const certificate = own
    ? `${printable(own.commonName, 60)}, ${expiryOf(own, now).text}`
    : 'no certificate on the token';
  return ok(`private key ${objectUri(key)}: ${typeOf(key)}, ${certificate}`);
}

function describeToken(listed: ListedToken, now: Date): CheckResult[] {
  const { keys } = listed;
  return [
    checkPin(listed),
    checkMechanisms(listed),
    ...keys.slice(0, MAX_KEYS).map((key) => describeKey(key, listed, now)),
    ...(keys.length > MAX_KEYS ? [ok(`and ${plural(keys.length - MAX_KEYS, 'other private key')}`)] : []),
  ];
}

/** Checks the token of a key: its module, the tokens that are there, PIN, mechanisms, keys and certificates. */
export async function checkToken(uri: string, now: Date): Promise<CheckResult[]> {
  const { path, info, present, tokens } = await listTokensOf(uri);
  const version = `${info.version.major}.${info.version.minor}`;
  const names = present.slice(0, MAX_KEYS).map(tokenName).join(', ');
  return [
    ok(`${path}: ${printable(info.description, 40)} ${version}`),
    present.length === 0
      ? warning(
          'token-missing',
          'no token is there',
          'plug it in, and check that its service runs (such as pcscd)',
        )
      : ok(`${plural(present.length, 'token')}: ${names}`),
    ...tokens.flatMap((token) => describeToken(token, now)),
  ];
}
