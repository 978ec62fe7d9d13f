import { z } from 'zod';
import {
  commonOf,
  control,
  exchange,
  limits,
  path,
  requireSsh,
  resolvePaths,
  resolverFor,
  ssh,
  timestampRoots,
} from './parts.ts';
import { loadYaml, type YamlFile } from './yaml.ts';

const requests = z.strictObject({
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
});

const vouch = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,49}$/, 'must be a plain name, used in the branch vouch/NAME'),
});

const trust = z.strictObject({
  allowedSigners: path,
  roots: path.optional(),
  timestampRoots: timestampRoots.optional(),
});

const common = { control, ssh: ssh.optional(), requests, state: path.default('state') };

const builder = z
  .strictObject({ ...common, exchange, trust, limits, vouch: vouch.optional() })
  .superRefine(requireSsh);

/** A voucher moves no file and reads no receipt. What a builder has besides may stand there. */
const voucher = z
  .strictObject({ ...common, exchange: exchange.optional(), trust: trust.optional(), limits, vouch })
  .superRefine(requireSsh);

interface FromFile {
  /** The file that this was read from. */
  readonly file: string;
}

/** `builder.yaml`, checked, its paths absolute. */
export type BuilderConfig = z.output<typeof builder> & FromFile;

/** `voucher.yaml`, or a `builder.yaml` with `vouch.name`: what `signpipe vouch` needs. */
export type VoucherConfig = z.output<typeof voucher> & FromFile;

/** Reads `builder.yaml`; throws `config-...` (usage) with file, line and column. */
export async function loadBuilderConfig(file: string | YamlFile): Promise<BuilderConfig> {
  const { path, raw } = await loadYaml(file, builder);
  const resolve = resolverFor(path);
  return {
    ...raw,
    ...commonOf(raw, path),
    requests: resolvePaths(raw.requests, resolve),
    trust: resolvePaths(raw.trust, resolve),
  };
}

/** Reads the configuration of a voucher; throws `config-...` (usage) with file, line and column. */
export async function loadVoucherConfig(file: string | YamlFile): Promise<VoucherConfig> {
  const { path, raw } = await loadYaml(file, voucher);
  const resolve = resolverFor(path);
  return {
    ...raw,
    ...commonOf(raw, path),
    requests: resolvePaths(raw.requests, resolve),
    ...(raw.trust ? { trust: resolvePaths(raw.trust, resolve) } : {}),
  };
}
