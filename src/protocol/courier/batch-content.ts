import { z } from 'zod';
import { invalid } from '../../lib/errors.ts';
import { jsonOrNull } from '../../lib/json.ts';

/** How many queries a batch has at most. */
export const BATCH_SIZE = 256;
/** The largest query, in bytes; one with SHA-512 and a nonce has about 120. */
const QUERY_LIMIT = 1024;
/** The largest answer of an authority, in bytes. A token with a long chain has about eight kilobytes. */
const RESPONSE_LIMIT = 256 * 1024;

/** The file in the commit of each kind, and its largest size in bytes. */
export const BATCH_FILE = {
  queries: { name: 'queries.json', limit: 1024 * 1024 },
  answers: { name: 'answers.json', limit: 8 * 1024 * 1024 },
} as const;

/** Base64 of at most `limit` bytes; its output is the bytes. */
const bytes = (limit: number) =>
  z
    .base64()
    .max(Math.ceil(limit / 3) * 4)
    .transform((text) => Buffer.from(text, 'base64'));

const queriesSchema = z.strictObject({
  version: z.literal(1),
  /** As in the name of the batch: the signature covers it, so that the host cannot offer old queries as new ones. */
  expires: z.int().min(0).max(99_999_999_999),
  queries: z
    .array(z.strictObject({ url: z.string().max(2000), query: bytes(QUERY_LIMIT) }))
    .min(1)
    .max(BATCH_SIZE),
});

const failureSchema = z.strictObject({
  code: z.string().regex(/^[a-z][a-z0-9-]{0,63}$/),
  message: z.string().max(1000),
  /** The HTTP status, and the pause that the authority asks for, in ms. */
  status: z.int().min(100).max(599).optional(),
  retryAfterMs: z.int().min(0).optional(),
});

const answersSchema = z.strictObject({
  version: z.literal(1),
  answers: z
    .array(
      z.union([
        z.strictObject({ response: bytes(RESPONSE_LIMIT) }),
        z.strictObject({ failure: failureSchema }),
      ]),
    )
    .min(1)
    .max(BATCH_SIZE),
});

/** One query: a TimeStampReq, and the authority to send it to, without user and password. */
export interface CourierQuery {
  readonly url: string;
  readonly query: Buffer;
}

/** Why the courier has no answer of an authority. */
export type CourierFailure = z.output<typeof failureSchema>;

/** What an authority answered, unchecked, or why there is no answer. */
export type CourierAnswer = { readonly response: Buffer } | { readonly failure: CourierFailure };

/** The content of `queries.json`; `expires` is that of the batch's name. */
export function serializeQueries(queries: readonly CourierQuery[], expires: number): Buffer {
  const encoded = queries.map(({ url, query }) => ({ url, query: query.toString('base64') }));
  return Buffer.from(`${JSON.stringify({ version: 1, expires, queries: encoded })}\n`);
}

export function serializeAnswers(answers: readonly CourierAnswer[]): Buffer {
  const encoded = answers.map((answer) =>
    'response' in answer ? { response: answer.response.toString('base64') } : answer,
  );
  return Buffer.from(`${JSON.stringify({ version: 1, answers: encoded })}\n`);
}

function parse<T extends z.ZodType>(schema: T, content: Buffer, what: string): z.output<T> {
  const result = schema.safeParse(jsonOrNull(content.toString('utf8')));
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue?.path.map(String).join('.') ?? '';
  throw invalid(
    'courier-batch-malformed',
    `${what}: ${where === '' ? '' : `${where}: `}${issue?.message ?? ''}`,
  );
}

/** Parses `queries.json`. Throws `courier-batch-malformed`. */
export const parseQueries = (
  content: Buffer,
): { readonly expires: number; readonly queries: readonly CourierQuery[] } =>
  parse(queriesSchema, content, BATCH_FILE.queries.name);

/** Parses `answers.json`, which has an answer for each of `count` queries. Throws `courier-batch-malformed`. */
export function parseAnswers(content: Buffer, count: number): readonly CourierAnswer[] {
  const { name } = BATCH_FILE.answers;
  const { answers } = parse(answersSchema, content, name);
  if (answers.length === count) return answers;
  throw invalid('courier-batch-malformed', `${name}: ${answers.length} answers to ${count} queries`);
}
