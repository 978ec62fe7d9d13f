import { z } from 'zod';
import {
  control,
  duration,
  path,
  requireSsh,
  resolveCommon,
  resolvePaths,
  resolverFor,
  ssh,
} from './common-sections.ts';
import { authorityUrl } from './timestamp-authorities.ts';
import { loadYaml, type YamlFile } from './yaml.ts';

const schema = z
  .strictObject({
    control: control.pick({ url: true }),
    ssh: ssh.optional(),
    trust: z.strictObject({ allowedSigners: path }),
    authorities: z.array(authorityUrl).min(1, 'must name at least one').max(16),
    timeout: duration.refine((ms) => ms > 0, 'must be longer than 0: 15s').default(15_000),
    poll: duration.refine((ms) => ms >= 1000, 'must be at least 1s').default(1000),
    name: z.string().min(1).max(100).default('signpipe courier'),
    state: path.default('state'),
  })
  .superRefine(requireSsh);

/** The checked content of `courier.yaml`, with absolute paths. */
export type CourierConfig = z.output<typeof schema> & {
  /** The file that it was read from. */
  readonly file: string;
};

/** Reads `courier.yaml`; throws `config-...` (usage) with file, line and column. */
export async function loadCourierConfig(file: string | YamlFile): Promise<CourierConfig> {
  const { path: from, raw } = await loadYaml(file, schema, 'courier');
  return { ...raw, ...resolveCommon(raw, from), trust: resolvePaths(raw.trust, resolverFor(from)) };
}
