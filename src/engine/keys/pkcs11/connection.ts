import type { DigestName } from '../../../lib/asn1/oids.ts';
import { usage } from '../../../lib/errors.ts';
import { findKey, objectUri } from './find-key.ts';
import { checkLibrary, findToken, tokenName } from './find-token.ts';
import { findPin, KEYPAD_MS, logIn, tryPin, type Pin, type PinSource } from './login.ts';
import { signingMethod, type SigningMethod } from './method.ts';
import type { SignRequest, TokenInfo, TokenKey } from './module-calls.ts';
import { ModuleProcess } from './module-process.ts';
import type { KeySelection, Pkcs11Uri } from './uri.ts';

export interface ConnectionOptions {
  readonly uri: Pkcs11Uri;
  /** The path of the module. */
  readonly module: string;
  readonly pin: PinSource;
  /** How many sessions to open; the token may allow fewer. */
  readonly sessions: number;
  /** The longest time for one call of the module, in ms. */
  readonly callMs: number;
}

/** A private key on a token, logged in, in a process of its own. */
export class TokenConnection {
  private constructor(
    readonly process: ModuleProcess,
    readonly token: TokenInfo,
    readonly key: TokenKey,
    /** How many signatures can be made at the same time. */
    readonly sessions: number,
    private readonly method: SigningMethod,
    private readonly selection: KeySelection,
    private readonly pin: Pin | undefined,
  ) {}

  /**
   * Starts the module, selects the token, logs in, and selects the key. Throws usage errors of these steps, and
   * `KeyUnavailable`.
   */
  static async open(options: ConnectionOptions): Promise<TokenConnection> {
    const { uri, module, pin: source } = options;
    const { process, info } = await ModuleProcess.start({
      path: module,
      callMs: options.callMs,
      environment: uri.environment,
      threads: options.sessions,
    });
    try {
      checkLibrary(info, uri.library);
      const token = findToken(await process.call('tokens', undefined), uri.tokenSelection);
      const count = Math.min(options.sessions, token.maxSessions ?? options.sessions);
      const sessions = await process.call('openSessions', { slot: token.slot, count });
      const pin = await logIn(process, token, () => findPin(token, source));
      const key = await findKey(process, uri.keySelection);
      const method = requireMethod(token, key, await process.call('mechanisms', token.slot));
      // One at a time if each gives the PIN: several would try a wrong one several times.
      const concurrency = key.alwaysAuthenticate ? 1 : sessions;
      return new TokenConnection(process, token, key, concurrency, method, uri.keySelection, pin);
    } catch (error) {
      process.kill();
      throw error;
    }
  }

  /** The digests that the key signs; all if undefined. */
  get digests(): readonly DigestName[] | undefined {
    return this.method.digests;
  }

  /**
   * Signs data, of which the digest is given too: PKCS#1 v1.5 or a DER ECDSA-Sig-Value. Throws `KeyUnavailable`,
   * `token-error`, and `pin-wrong` if the key wants a PIN for each signature.
   */
  async sign(hash: DigestName, digest: Buffer, data: Buffer): Promise<Buffer> {
    const input = this.method.input(hash, digest, data);
    const value = await this.call({ key: this.key.handle, ...input });
    return this.method.signature(value, `token ${tokenName(this.token)}`);
  }

  /** Asks the token whether the key is still there. Throws `KeyUnavailable`, and as `findKey`. */
  async check(): Promise<void> {
    await findKey(this.process, this.selection);
  }

  private call(request: SignRequest): Promise<Buffer> {
    const { process, key, token } = this;
    const pin = key.alwaysAuthenticate ? this.pin : undefined;
    if (!pin) return process.call('sign', request);
    return tryPin(token, pin, () =>
      process.call(
        'sign',
        { ...request, authenticate: { pin: pin.pin } },
        pin.pin === undefined ? KEYPAD_MS : undefined,
      ),
    );
  }
}

/** How a key signs on its token. Throws `token-mechanism` (usage) if the token has no mechanism for that. */
function requireMethod(token: TokenInfo, key: TokenKey, mechanisms: readonly number[]): SigningMethod {
  const method = signingMethod(key, mechanisms);
  if (typeof method !== 'string') return method;
  throw usage(
    'token-mechanism',
    `token ${tokenName(token)}: ${method}, which the private key ${objectUri(key)} needs`,
    {
      hint: 'programs are signed with RSA (PKCS#1 v1.5) or ECDSA on P-256, P-384 or P-521: use another key or token',
    },
  );
}
