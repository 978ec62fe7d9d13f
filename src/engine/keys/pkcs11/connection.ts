import { OID, type DigestName } from '../../../lib/asn1/oids.ts';
import { ecdsaRawToDer } from '../../../lib/asn1/ecdsa-signature.ts';
import { NULL, octets, oid, seq } from '../../../lib/asn1/encode-der.ts';
import { SignpipeError, usage } from '../../../lib/errors.ts';
import { findKey, objectUri } from './find-key.ts';
import { checkLibrary, findToken, tokenName } from './find-token.ts';
import { findPin, KEYPAD_MS, logIn, tryPin, type Pin, type PinSource } from './login.ts';
import { KEY_TYPE, MECHANISM, type TokenInfo, type TokenKey } from './module-calls.ts';
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

/** DigestInfo (RFC 8017, 9.2), which CKM_RSA_PKCS signs; it pads only. */
const digestInfo = (hash: DigestName, digest: Buffer): Buffer =>
  seq(seq(oid(OID[hash]), NULL), octets(digest));

/** Sizes of the curves' orders in bytes; a digest that is longer is cut (FIPS 186-5, 6.4.1), which not all tokens do. */
const ORDER_BYTES = [
  [OID.p256, 32],
  [OID.p384, 48],
  [OID.p521, 66],
] as const;

/** The size of the order of a key's curve; undefined if the token does not name the curve. */
const orderBytes = ({ ecParams }: TokenKey): number | undefined =>
  ORDER_BYTES.find(([curve]) => ecParams?.equals(oid(curve)))?.[1];

/** A private key on a token, logged in, in a process of its own. */
export class TokenConnection {
  private constructor(
    readonly process: ModuleProcess,
    readonly token: TokenInfo,
    readonly key: TokenKey,
    /** How many signatures can be made at the same time. */
    readonly sessions: number,
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
      await requireMechanism(process, token, key);
      // One at a time if each gives the PIN: several would try a wrong one several times.
      const concurrency = key.alwaysAuthenticate ? 1 : sessions;
      return new TokenConnection(process, token, key, concurrency, uri.keySelection, pin);
    } catch (error) {
      process.kill();
      throw error;
    }
  }

  /**
   * Signs a digest: PKCS#1 v1.5 or a DER ECDSA-Sig-Value. Throws `KeyUnavailable`, `token-error`, and `pin-wrong` if the
   * key wants a PIN for each signature.
   */
  async sign(hash: DigestName, digest: Buffer): Promise<Buffer> {
    if (this.key.type === KEY_TYPE.rsa) return this.call(MECHANISM.rsaPkcs, digestInfo(hash, digest));
    const raw = await this.call(MECHANISM.ecdsa, digest.subarray(0, orderBytes(this.key)));
    if (ORDER_BYTES.some(([, bytes]) => raw.length === 2 * bytes))
      return ecdsaRawToDer(raw, tokenName(this.token));
    const message = `token ${tokenName(this.token)}: its ECDSA signature has ${raw.length} bytes`;
    throw new SignpipeError('local', 'token-error', message);
  }

  /** Asks the token whether the key is still there. Throws `KeyUnavailable`, and as `findKey`. */
  async check(): Promise<void> {
    await findKey(this.process, this.selection);
  }

  private call(mechanism: number, data: Buffer): Promise<Buffer> {
    const { process, key, token } = this;
    const pin = key.alwaysAuthenticate ? this.pin : undefined;
    if (!pin) return process.call('sign', { key: key.handle, mechanism, data });
    const request = { key: key.handle, mechanism, data, authenticate: { pin: pin.pin } };
    return tryPin(token, pin, () =>
      process.call('sign', request, pin.pin === undefined ? KEYPAD_MS : undefined),
    );
  }
}

/** Throws `token-mechanism` (usage) unless the token signs digests with keys of this type. */
async function requireMechanism(process: ModuleProcess, token: TokenInfo, key: TokenKey): Promise<void> {
  const needed =
    key.type === KEY_TYPE.rsa ? MECHANISM.rsaPkcs : key.type === KEY_TYPE.ec ? MECHANISM.ecdsa : undefined;
  const mechanisms = await process.call('mechanisms', token.slot);
  if (needed !== undefined && mechanisms.includes(needed)) return;
  const name =
    needed === undefined
      ? `a key of the type 0x${key.type.toString(16)}`
      : needed === MECHANISM.rsaPkcs
        ? 'CKM_RSA_PKCS'
        : 'CKM_ECDSA';
  throw usage(
    'token-mechanism',
    `token ${tokenName(token)}: cannot sign with ${name}, which ${objectUri(key)} needs`,
    {
      hint: 'programs are signed with RSA (PKCS#1 v1.5) or ECDSA on P-256, P-384 or P-521: use another key or token',
    },
  );
}
