/** Upper bounds for zips from outside. */
export interface ArchiveLimits {
  /** The zip itself, in bytes. */
  readonly archive: number;
  /** Number of entries. */
  readonly entries: number;
  /** One entry, uncompressed, in bytes. */
  readonly entry: number;
  /** Uncompressed to compressed size, of each entry that is opened and of all signed entries together. */
  readonly ratio: number;
}

/** The default limits of signer.yaml and builder.yaml, and those of sign and verify. */
export const DEFAULT_LIMITS: ArchiveLimits = {
  archive: 8 * 2 ** 30,
  entries: 200_000,
  entry: 4 * 2 ** 30,
  ratio: 200,
};

/** The hint for an exceeded limit. `sign` and `verify` have no configuration. */
export const limitHint = (limit: keyof ArchiveLimits): string =>
  `limits.${limit} in the configuration sets this bound; sign and verify have a fixed one`;
