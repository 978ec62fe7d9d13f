import type { AccessToken, TokenCredential } from '@azure/identity';

/** How long before its end a token is replaced, in milliseconds: a call may take a minute. */
const MARGIN = 300_000;

/**
 * Keeps an access token while it is valid. Only for speed: some credentials of the SDK keep none, and start the command line
 * of Azure, or look for a managed identity, each time they are asked.
 */
export class AccessTokens {
  private kept: AccessToken | undefined;

  constructor(
    private readonly credential: Pick<TokenCredential, 'getToken'>,
    private readonly scope: string,
  ) {}

  /** A token for the next call; undefined if the credential has none. Rejects as the credential does. */
  async get(abortSignal: AbortSignal): Promise<string | undefined> {
    const { expiresOnTimestamp: end, refreshAfterTimestamp: renewAt = Infinity } = this.kept ?? {
      expiresOnTimestamp: 0,
    };
    if (this.kept && Date.now() < Math.min(end - MARGIN, renewAt)) return this.kept.token;
    this.kept = (await this.credential.getToken(this.scope, { abortSignal })) ?? undefined;
    return this.kept?.token;
  }

  /** Called with a token that the service refuses: the credential is asked for another. */
  forget(token: string): void {
    if (this.kept?.token === token) this.kept = undefined;
  }
}
