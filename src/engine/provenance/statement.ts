import { z } from 'zod';

/** The payload type of a DSSE envelope whose payload is a Statement. */
export const STATEMENT_PAYLOAD = 'application/vnd.in-toto+json';

const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';

/** Lower-case hex. */
export const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** A set of digests by algorithm; those of other algorithms are ignored. */
export const sha256Set = z.object({ sha256 });

const subject = z.object({
  name: z.string().max(4096).optional().describe('the name of the file when it was delivered'),
  digest: z.object({ sha256: sha256.optional() }).describe('digests of the file, by algorithm'),
});

/**
 * An in-toto Statement v1 (https://github.com/in-toto/attestation, spec/v1/statement.md) with a predicate of the given
 * type. Readers ignore unknown keys.
 */
export const statementOf = <Type extends string, Predicate extends z.ZodType>(
  predicateType: Type,
  predicate: Predicate,
) =>
  z.object({
    _type: z.literal(STATEMENT_TYPE),
    subject: z.array(subject).min(1).max(1000),
    predicateType: z.literal(predicateType),
    predicate,
  });

/** Any Statement: enough to decide whether its predicate is of a known type. */
export const anyStatement = z.object({
  _type: z.literal(STATEMENT_TYPE),
  subject: z.array(subject).min(1).max(1000),
  predicateType: z.string().max(1000),
});

/** The head of a Statement about one delivered file. */
export const statementAbout = <Type extends string>(
  predicateType: Type,
  file: { readonly name: string; readonly sha256: string },
) => ({
  _type: STATEMENT_TYPE,
  subject: [{ name: file.name, digest: { sha256: file.sha256 } }],
  predicateType,
});
