import { z } from 'zod';
import {
  control,
  path,
  requireSsh,
  resolveCommon,
  resolvePaths,
  resolverFor,
  ssh,
} from './common-sections.ts';
import { loadYaml, type YamlFile } from './yaml.ts';

const schema = z
  .strictObject({
    control: control.pick({ url: true, requests: true, receipts: true }),
    ssh: ssh.optional(),
    trust: z.strictObject({ allowedSigners: path, receiptSigners: path.optional() }),
    state: path.default('state'),
  })
  .superRefine(requireSsh);

/** The checked content of `auditor.yaml`, with absolute paths. */
export type AuditorConfig = z.output<typeof schema> & {
  /** The file that it was read from. */
  readonly file: string;
};

/** Reads `auditor.yaml`; throws `config-...` (usage) with file, line and column. */
export async function loadAuditorConfig(file: string | YamlFile): Promise<AuditorConfig> {
  const { path: from, raw } = await loadYaml(file, schema, 'auditor');
  return { ...raw, ...resolveCommon(raw, from), trust: resolvePaths(raw.trust, resolverFor(from)) };
}
