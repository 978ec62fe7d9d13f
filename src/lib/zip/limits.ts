/** What is taken from outside at most. */
export interface ArchiveLimits {
  /** The zip itself, in bytes. */
  readonly archive: number;
  /** Number of entries. */
  readonly entries: number;
  /** One entry, uncompressed, in bytes. */
  readonly entry: number;
  /** Uncompressed to compressed size, of each entry opened and of all that are signed together. */
  readonly ratio: number;
}

/** The limits of signer.yaml and builder.yaml unless they say otherwise, and those of sign and verify. */
export const DEFAULT_LIMITS: ArchiveLimits = {
  archive: 8 * 2 ** 30,
  entries: 200_000,
  entry: 4 * 2 ** 30,
  ratio: 200,
};

/** The hint of a refusal because of a limit. `sign` and `verify` have no configuration. */
export const limitHint = (limit: keyof ArchiveLimits): string =>
  `limits.${limit} in the configuration sets this bound; sign and verify have a fixed one`;
