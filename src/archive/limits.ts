/** What is taken from outside at most. */
export interface ArchiveLimits {
  /** The zip itself, in bytes. */
  readonly archive: number;
  /** Number of entries. */
  readonly entries: number;
  /** One entry, uncompressed, in bytes. */
  readonly entry: number;
  /** Uncompressed to compressed size, of the whole zip and of each entry opened. */
  readonly ratio: number;
}

/** What signer.yaml bounds zips to unless it says otherwise; local commands keep to the same. */
export const DEFAULT_LIMITS: ArchiveLimits = {
  archive: 8 * 2 ** 30,
  entries: 200_000,
  entry: 4 * 2 ** 30,
  ratio: 200,
};
