import { usage } from '../../../lib/errors.ts';
import type { DigestName } from '../../../lib/asn1/oids.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { externalKey, type ExternalSigner } from '../external-key.ts';
import type { SigningKey } from '../signing-key.ts';
import type { UriKeyOptions } from '../uri-key-options.ts';
import { isLost } from './call-errors.ts';
import { TokenConnection, type ConnectionOptions } from './connection.ts';
import { certificatesFor, fits } from './find-key.ts';
import { tokenName } from './find-token.ts';
import { modulePath } from './module-path.ts';
import { CALL_MS } from './module-process.ts';
import { MAX_SESSIONS } from './uri-attributes.ts';
import { parsePkcs11Uri } from './uri.ts';

/** Signs with a token, and connects again when it, its sessions or the process of its module were lost. */
class TokenSigner implements ExternalSigner {
  readonly concurrency: number;
  readonly digests?: readonly DigestName[];
  private connection: Promise<TokenConnection>;

  constructor(
    first: TokenConnection,
    private readonly leaf: Certificate,
    private readonly options: ConnectionOptions,
  ) {
    this.concurrency = first.sessions;
    if (first.digests) this.digests = first.digests;
    this.connection = Promise.resolve(first);
  }

  async signDigest(hash: DigestName, digest: Buffer, data: Buffer): Promise<{ readonly value: Buffer }> {
    return { value: await this.usingConnection((connection) => connection.sign(hash, digest, data)) };
  }

  /** Looks for the key on the token. */
  async available(): Promise<void> {
    await this.usingConnection((connection) => connection.check());
  }

  async close(): Promise<void> {
    const connection = await this.connection.catch(() => undefined);
    await connection?.process.close();
  }

  /** Uses the connection; if it turns out to be lost, once more with a new one. */
  private async usingConnection<T>(use: (connection: TokenConnection) => Promise<T>): Promise<T> {
    const connection = await this.connected();
    try {
      return await use(connection);
    } catch (error) {
      if (!isLost(error)) throw error;
      connection.process.kill();
      return use(await this.connected());
    }
  }

  /** The connection, or a new one if it was lost; calls at the same time get the same one. */
  private async connected(): Promise<TokenConnection> {
    const held = this.connection;
    const current = await held.catch(() => undefined);
    if (current?.process.alive) return current;
    if (this.connection === held) this.connection = this.connectAgain();
    return this.connection;
  }

  private async connectAgain(): Promise<TokenConnection> {
    const connection = await TokenConnection.open(this.options);
    if (fits(this.leaf, connection.key) !== false) return connection;
    connection.process.kill();
    throw usage(
      'key-does-not-match',
      `token ${tokenName(connection.token)}: it has another key than before`,
      {
        hint: 'plug the first token in again, or restart the signer to use this one',
      },
    );
  }
}

/** Asks a person at the first login only: a signature asks no one, and the same PIN is right again. */
function askedOnce(ask: UriKeyOptions['ask']): UriKeyOptions['ask'] {
  let answer: Promise<string | undefined> | undefined;
  return ask && ((...question) => (answer ??= ask(...question)));
}

/**
 * Opens a key on a PKCS#11 token: `pkcs11:token=…;object=…?module-path=…` (RFC 7512). The module runs in a process of its
 * own, which ends with this one.
 *
 * Throws usage errors, each of which names what to do: `pkcs11-uri`, `pkcs11-missing`, `pkcs11-module`, `pkcs11-library`,
 * `token-ambiguous`, `token-key-missing`, `token-key-ambiguous`, `token-mechanism`, `token-certificate-missing`,
 * `key-does-not-match`, `pin-missing`, `pin-wrong`, `pin-locked`, `pin-final-try`, `pin-count-low`, `pin-expired`,
 * `pin-not-set`; and `KeyUnavailable`: `token-missing`, `token-failed`, `token-hangs`, `token-process`.
 */
export async function openPkcs11Key(given: UriKeyOptions): Promise<SigningKey> {
  const { certificate, ask, warn } = given;
  const uri = parsePkcs11Uri(given.uri);
  const pin = { file: uri.pinFile, ask: askedOnce(ask), warn };
  const options = {
    uri,
    pin,
    module: await modulePath(uri.module),
    sessions: Math.min(MAX_SESSIONS, uri.sessions ?? given.concurrency ?? 1),
    callMs: uri.callMs ?? given.keyTimeout ?? CALL_MS,
  };
  const connection = await TokenConnection.open(options);
  try {
    const { process, key, token } = connection;
    const { leaf, others } = await certificatesFor(process, key, certificate, connection);
    const signer = new TokenSigner(connection, leaf, options);
    return externalKey(signer, { leaf, others, what: `token ${tokenName(token)}` });
  } catch (error) {
    connection.process.kill();
    throw error;
  }
}
