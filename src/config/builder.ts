import { z } from 'zod';
import {
  commonOf,
  control,
  exchange,
  path,
  requireSsh,
  resolvePaths,
  resolverFor,
  ssh,
  timestampRoots,
} from './parts.ts';
import { loadYaml } from './yaml.ts';

const schema = z
  .strictObject({
    control,
    exchange,
    ssh: ssh.optional(),
    requests: z.strictObject({
      key: path,
      passphraseFile: path.optional(),
      name: z
        .string()
        .regex(/^[^<>\n\r\0]{1,100}$/, 'must be a name without < > or line breaks')
        .default('signpipe builder'),
      email: z
        .string()
        .regex(/^[^<>\s]{0,100}$/, 'must be an address without < > or spaces')
        .default(''),
    }),
    vouch: z
      .strictObject({
        name: z
          .string()
          .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,49}$/, 'must be a plain name, used in the branch vouch/NAME'),
      })
      .optional(),
    trust: z.strictObject({
      allowedSigners: path,
      roots: path.optional(),
      timestampRoots: timestampRoots.optional(),
    }),
    state: path.default('state'),
  })
  .superRefine(requireSsh);

/** `builder.yaml`, checked, its paths absolute. */
export type BuilderConfig = z.output<typeof schema> & {
  /** The file that this was read from. */
  readonly file: string;
};

/** Reads `builder.yaml`; throws `config-...` (usage) with file, line and column. */
export async function loadBuilderConfig(file: string): Promise<BuilderConfig> {
  const raw = await loadYaml(file, schema);
  const resolve = resolverFor(file);
  return {
    ...raw,
    ...commonOf(raw, file),
    requests: resolvePaths(raw.requests, resolve),
    trust: resolvePaths(raw.trust, resolve),
  };
}
