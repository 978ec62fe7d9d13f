import { sha256Hex } from '../../lib/bytes/hash.ts';

/** All refs of the courier's protocol; docs/protocol.md describes it. */
export const TIMESTAMP_REFS = 'refs/signpipe/timestamps/';

/** A batch of queries, or the answers to it, as its ref names it. */
export interface BatchName {
  /** Which signer asks: the first 16 hex digits of the SHA-256 of its receipt key. */
  readonly signer: string;
  /** When the signer stops waiting for the answers, in seconds since 1970, by the signer's clock. */
  readonly expires: number;
  /** SHA-256 of the queries, in hex. */
  readonly id: string;
}

export type BatchKind = 'queries' | 'answers';

/** Each name has one form: with leading zeros, two refs would have the same `batchPath`. */
const NAME = /^(queries|answers)\/([0-9a-f]{16})\/(0|[1-9]\d{0,10})-([0-9a-f]{64})$/;

/** The part of a ref below `queries/` or `answers/`: the same for both. */
export const batchPath = ({ signer, expires, id }: BatchName): string => `${signer}/${expires}-${id}`;

export const batchRef = (kind: BatchKind, name: BatchName): string =>
  `${TIMESTAMP_REFS}${kind}/${batchPath(name)}`;

/** Parses a ref, given without `TIMESTAMP_REFS`; null if it is not one of this protocol. */
export function parseBatchRef(text: string): { readonly kind: BatchKind; readonly name: BatchName } | null {
  const [, kind, signer, expires, id] = NAME.exec(text) ?? [];
  if ((kind !== 'queries' && kind !== 'answers') || signer === undefined || id === undefined) return null;
  return { kind, name: { signer, expires: Number(expires), id } };
}

/** The `id` of a batch, from the content of its `queries.json`. */
export const batchId = (content: Buffer): string => sha256Hex(content);
