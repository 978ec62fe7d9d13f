import { z } from 'zod';
import { signingStatement } from './signing-statement.ts';
import { summaryStatement } from './verification-summary.ts';

/** The JSON Schema (2020-12) of the payloads of `NAME.intoto.jsonl`, as docs/provenance.schema.json holds it. */
export function provenanceJsonSchema(): string {
  const payload = z.union([signingStatement, summaryStatement]);
  const schema = {
    $id: 'https://signpipe.invalid/provenance.schema.json',
    title: 'signpipe provenance: the payload of an envelope',
    ...z.toJSONSchema(payload, { io: 'input', target: 'draft-2020-12' }),
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}
