import { z } from 'zod';

/** An output as version 1 wrote it: optional keys said how it was to be delivered. */
const outputVersion1 = z.object({
  name: z.string(),
  path: z.string().optional(),
  /** The signed file, or its new bytes if there is an `assembly`. */
  file: z.string().optional(),
  size: z.number(),
  /** SHA-256 of `file`, or of the new bytes. */
  sha256: z.string(),
  assembly: z
    .object({
      source: z.object({ size: z.number(), modified: z.string().optional() }),
      spans: z.unknown(),
      whole: z.object({ unsigned: z.string(), sha256: z.string() }).optional(),
    })
    .optional(),
  temporary: z.string().optional(),
});

const recordVersion1 = z.looseObject({
  version: z.literal(1),
  stage: z.string(),
  since: z.unknown().optional(),
  outputs: z.array(outputVersion1).default([]),
});

function upgradedOutput(output: z.output<typeof outputVersion1>): object {
  const { name, path = name, size, temporary, file, sha256, assembly } = output;
  const place = { name, path, size, ...(temporary !== undefined && { temporary }) };
  if (!assembly) return { mode: 'file', ...place, file, sha256 };
  const { source, spans, whole } = assembly;
  const newBytes = { ...(file !== undefined && { file }), sha256 };
  if (!whole) return { mode: 'sparse', ...place, unsigned: source, newBytes, spans };
  const unsigned = { file: whole.unsigned, ...source };
  return { mode: 'delta', ...place, sha256: whole.sha256, unsigned, newBytes, spans };
}

/** A record of version 1 in the form of version 2; any other value as it is. */
function asVersion2(value: unknown): unknown {
  const { data } = recordVersion1.safeParse(value);
  if (!data) return value;
  const { outputs, since = null, ...rest } = data;
  return {
    ...rest,
    version: 2,
    ...(data.stage === 'signed' && { outputs: outputs.map(upgradedOutput) }),
    ...(data.stage === 'answered' && { since }),
  };
}

const recordVersion2 = z.looseObject({ version: z.literal(2) });

/**
 * A journal of version 1 or 2, left by an earlier signer, which held one request, in the form of version 3; any other
 * value as it is.
 */
export function upgraded(value: unknown): unknown {
  const { data } = recordVersion2.safeParse(asVersion2(value));
  if (!data) return value;
  const { version: _, ...record } = data;
  return { version: 3, records: [record] };
}
