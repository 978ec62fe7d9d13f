import { messageOf, usage, type SignpipeError } from '../../../lib/errors.ts';
import { Semaphore } from '../../../lib/concurrency/semaphore.ts';
import { readPassphraseFile } from '../passphrase.ts';
import { ModuleCallError } from './call-errors.ts';
import { tokenName } from './find-token.ts';
import { TOKEN_FLAG, type TokenInfo } from './module-calls.ts';
import type { ModuleProcess } from './module-process.ts';

/** How long a person has to type the PIN into the token's own keypad, in ms. */
export const KEYPAD_MS = 120_000;

/** Where the PIN of a token comes from. */
export interface PinSource {
  readonly file: string | undefined;
  /** Asks a person; see `openSigningKey`. */
  readonly ask: ((what: string, secret?: string) => Promise<string | undefined>) | undefined;
  readonly warn: (message: string) => void;
}

/** What a login needs: a PIN, whether a person gave it now, and undefined for the token's own keypad. */
export interface Pin {
  readonly pin: string | undefined;
  readonly attended: boolean;
}

/** The label of a token as an argument for a shell; left out if it would need quotes of its own. */
const labelOption = ({ label }: TokenInfo): string =>
  /^[\w .:-]+$/.test(label) ? ` --token-label '${label}'` : '';

/** How the owner of a token resets its count of wrong PINs. */
export const logInByHand = (token: TokenInfo): string =>
  `log in once by hand with the right PIN, which resets the token's count: pkcs11-tool --module MODULE${labelOption(token)} --login --list-objects`;

/** How the owner of a token makes it take PINs again. */
export const UNLOCK_PIN = 'unlock it with the PUK or the SO PIN, using the tool of its vendor';

interface PinRefusal {
  readonly token: TokenInfo;
  readonly cause: unknown;
}

const nameOf = ({ token }: PinRefusal): string => `token ${tokenName(token)}`;

const pinWrong =
  (text: string) =>
  (refusal: PinRefusal): SignpipeError =>
    usage('pin-wrong', `${nameOf(refusal)}: ${text}`, {
      hint: `write the right PIN into the file that pin-source names; ${logInByHand(refusal.token)}; a running signer must then be restarted, since it tries no PIN twice`,
      cause: refusal.cause,
    });

/** What a token reports about a PIN, which a second attempt cannot mend. */
const PIN_ERRORS: ReadonlyMap<string, (refusal: PinRefusal) => SignpipeError> = new Map([
  ['CKR_PIN_INCORRECT', pinWrong('the PIN is wrong')],
  ['CKR_PIN_INVALID', pinWrong('the PIN has characters that the token does not take')],
  ['CKR_PIN_LEN_RANGE', pinWrong('the PIN is too short or too long')],
  [
    'CKR_PIN_LOCKED',
    (refusal) =>
      usage('pin-locked', `${nameOf(refusal)}: its PIN is locked`, {
        hint: UNLOCK_PIN,
        cause: refusal.cause,
      }),
  ],
  [
    'CKR_PIN_EXPIRED',
    (refusal) =>
      usage('pin-expired', `${nameOf(refusal)}: its PIN has expired`, {
        hint: 'change it with the tool of its vendor, write the new one into the file that pin-source names, and restart the signer',
        cause: refusal.cause,
      }),
  ],
  [
    'CKR_USER_PIN_NOT_INITIALIZED',
    (refusal) =>
      usage('pin-not-set', `${nameOf(refusal)}: it has no user PIN yet`, {
        hint: 'set one with the tool of its vendor, or with pkcs11-tool --init-pin',
        cause: refusal.cause,
      }),
  ],
]);

/**
 * Tokens whose login failed in this process, and how. Such a login is not repeated until the process is started again: a
 * few wrong PINs lock a token for good.
 */
const failedLogins = new Map<string, SignpipeError>();
/**
 * The PIN that each token took last in this process, and has not refused since. It may be given again, also if another
 * one failed: the wrong PIN of a successor must not stop the key on the same token.
 */
const acceptedPins = new Map<string, string | undefined>();

/** Names a token, not the way to it: URIs by label, serial number or slot, and other modules, reach the same one. */
const idOf = ({ manufacturer, model, serial, label }: TokenInfo): string =>
  JSON.stringify([manufacturer, model, serial, label]);

const has = ({ flags }: TokenInfo, flag: keyof typeof TOKEN_FLAG): boolean =>
  (flags & TOKEN_FLAG[flag]) !== 0;

const PIN_STATES = [
  ['userPinLocked', 'pin-locked'],
  ['userPinFinalTry', 'pin-final-try'],
  ['userPinCountLow', 'pin-count-low'],
] as const;

/** The code of the worst that a token reports about its PIN; undefined if its last login was right. */
export const pinState = (token: TokenInfo): (typeof PIN_STATES)[number][1] | undefined =>
  PIN_STATES.find(([flag]) => has(token, flag))?.[1];

/**
 * Throws usage errors if a login is not to be tried: `pin-locked`, and without a person `pin-final-try` and
 * `pin-count-low`, since the service may have been restarted with a wrong PIN.
 */
export function checkPinState(token: TokenInfo, attended: boolean): void {
  const name = `token ${tokenName(token)}`;
  const hint = logInByHand(token);
  if (has(token, 'userPinLocked'))
    throw usage('pin-locked', `${name}: its PIN is locked, after too many wrong ones`, {
      hint: UNLOCK_PIN,
    });
  if (attended) return;
  if (has(token, 'userPinFinalTry'))
    throw usage(
      'pin-final-try',
      `${name}: one more wrong PIN locks it, so it is not tried without a person`,
      { hint },
    );
  if (has(token, 'userPinCountLow'))
    throw usage(
      'pin-count-low',
      `${name}: its last login had a wrong PIN, so none is tried without a person`,
      { hint },
    );
}

/** Gets the PIN for a token. Throws `pin-missing` (usage) and what `readPassphraseFile` throws. */
export async function findPin(token: TokenInfo, { file, ask, warn }: PinSource): Promise<Pin> {
  if (file !== undefined) return { pin: await readPassphraseFile(file, warn, 'PIN'), attended: false };
  if (has(token, 'protectedAuthenticationPath')) return { pin: undefined, attended: true };
  const pin = await ask?.(`token ${tokenName(token)}`, 'PIN');
  if (pin !== undefined && pin !== '') return { pin, attended: true };
  throw usage('pin-missing', `token ${tokenName(token)}: needs a PIN, and none was given`, {
    hint: "put it into a file and add pin-source=file:FILE to the key's URI",
  });
}

/** One attempt for each token at a time: what waits must see that the PIN was wrong. */
const attempts = new Map<string, Semaphore>();

function oneAttempt<T>(id: string, work: () => Promise<T>): Promise<T> {
  const semaphore = attempts.get(id) ?? new Semaphore(1);
  attempts.set(id, semaphore);
  return semaphore.run(work);
}

const isAccepted = (id: string, pin: string | undefined): boolean =>
  acceptedPins.has(id) && acceptedPins.get(id) === pin;

function throwEarlier(id: string): void {
  const earlier = failedLogins.get(id);
  if (earlier) throw earlier;
}

/**
 * Logs in if the token needs that; returns the PIN then. Throws usage errors: those of `findPin`, `checkPinState` and
 * `tryPin`. After a failure it is not tried again in this process; not even if the token was lost meanwhile, unless
 * this PIN was right before.
 */
export async function logIn(
  process: ModuleProcess,
  token: TokenInfo,
  findPin: () => Promise<Pin>,
): Promise<Pin | undefined> {
  if (!has(token, 'loginRequired')) return undefined;
  return oneAttempt(idOf(token), async () => {
    if (!acceptedPins.has(idOf(token))) throwEarlier(idOf(token)); // No person is asked in vain.
    const pin = await findPin();
    checkPinState(token, pin.attended);
    await attempt(token, pin, () =>
      process.call('login', pin.pin, pin.pin === undefined ? KEYPAD_MS : undefined),
    );
    return pin;
  });
}

/**
 * Makes a call that gives the PIN to the token. Throws usage errors: those of `PIN_ERRORS`, and `login-unfinished`;
 * throws the earlier error instead if such a call failed before, unless the token has taken this PIN and not refused it since.
 */
export const tryPin = <T>(token: TokenInfo, pin: Pin, call: () => Promise<T>): Promise<T> =>
  oneAttempt(idOf(token), () => attempt(token, pin, call));

async function attempt<T>(token: TokenInfo, { pin }: Pin, call: () => Promise<T>): Promise<T> {
  const id = idOf(token);
  if (!isAccepted(id, pin)) throwEarlier(id);
  try {
    const result = await call();
    acceptedPins.set(id, pin);
    return result;
  } catch (error) {
    const known = pin === undefined || isAccepted(id, pin);
    const failure = pinError(error, token) ?? (known ? undefined : unfinished(error, token));
    if (failure) refuseFromNowOn(id, pin, failure);
    throw failure ?? error;
  }
}

function refuseFromNowOn(id: string, pin: string | undefined, failure: SignpipeError): void {
  failedLogins.set(id, failure);
  if (isAccepted(id, pin)) acceptedPins.delete(id);
}

function pinError(error: unknown, token: TokenInfo): SignpipeError | undefined {
  const refused = error instanceof ModuleCallError ? PIN_ERRORS.get(error.rv) : undefined;
  return refused?.({ token, cause: error });
}

/**
 * The error for a PIN that the token may have counted as wrong without saying so. Not `unavailable`: then a service
 * would be started again, and would try it again.
 */
const unfinished = (error: unknown, token: TokenInfo): SignpipeError =>
  usage(
    'login-unfinished',
    `token ${tokenName(token)}: whether its PIN is right is not known, since the login did not end: ${messageOf(error)}`,
    { hint: `${logInByHand(token)}; then start the signer again`, cause: error },
  );
