/** Settings of keys outside of this process. */
export interface ExternalKeySettings {
  /** Names of variables that a command gets from the environment of this process. */
  readonly commandEnvironment?: readonly string[] | undefined;
  /** How many signatures may be in flight; the kind's own default unless given. */
  readonly concurrency?: number | undefined;
  /** How long one attempt to make a signature may take, in milliseconds; the kind's own default unless given. */
  readonly keyTimeout?: number | undefined;
}

/** What a kind of key that a URI names is opened with. */
export interface UriKeyOptions extends ExternalKeySettings {
  readonly uri: string;
  /** The certificate and its chain: PEM, DER or PKCS #7. Left out if the token or the service has them. */
  readonly certificate: string | undefined;
  /** Asks a person for a secret; see `openSigningKey`. */
  readonly ask: ((what: string, secret?: string) => Promise<string | undefined>) | undefined;
  /** Called with a sentence, without secrets, about a file that other users can read. */
  readonly warn: (message: string) => void;
}
