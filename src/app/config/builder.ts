import { z } from 'zod';
import {
  resolveCommon,
  control,
  exchange,
  limits,
  path,
  requireSsh,
  resolvePaths,
  resolverFor,
  ssh,
  timestampRoots,
} from './common-sections.ts';
import { roleOf } from './role.ts';
import { loadYaml, readYaml, type YamlFile } from './yaml.ts';

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

/** A voucher transfers no file and reads no receipt; the sections for these are allowed, since a builder may vouch. */
const voucher = z
  .strictObject({ ...common, exchange: exchange.optional(), trust: trust.optional(), limits, vouch })
  .superRefine(requireSsh);

interface FromFile {
  /** The file that it was read from. */
  readonly file: string;
}

/** The checked content of `builder.yaml`, with absolute paths. */
export type BuilderConfig = z.output<typeof builder> & FromFile;

/** The checked content of a `voucher.yaml`, or of a `builder.yaml` with `vouch.name`, with absolute paths. */
export type VoucherConfig = z.output<typeof voucher> & FromFile;

/** What the configurations of builders and vouchers have in common: enough to commit. */
export type ControlConfig = Pick<VoucherConfig, 'file' | 'control' | 'ssh' | 'requests' | 'state' | 'trust'>;

/** Reads `builder.yaml`; throws `config-...` (usage) with file, line and column. */
export async function loadBuilderConfig(file: string | YamlFile): Promise<BuilderConfig> {
  const { path, raw } = await loadYaml(file, builder, 'builder');
  const resolve = resolverFor(path);
  return {
    ...raw,
    ...resolveCommon(raw, path),
    requests: resolvePaths(raw.requests, resolve),
    trust: resolvePaths(raw.trust, resolve),
  };
}

/** Reads the configuration of a voucher; throws `config-...` (usage) with file, line and column. */
export async function loadVoucherConfig(file: string | YamlFile): Promise<VoucherConfig> {
  const { path, raw } = await loadYaml(file, voucher, 'voucher', 'builder');
  const resolve = resolverFor(path);
  return {
    ...raw,
    ...resolveCommon(raw, path),
    requests: resolvePaths(raw.requests, resolve),
    ...(raw.trust ? { trust: resolvePaths(raw.trust, resolve) } : {}),
  };
}

/** Reads a `builder.yaml` or, if it has no section `exchange`, a `voucher.yaml`. */
export async function loadControlConfig(path: string): Promise<ControlConfig> {
  const file = await readYaml(path);
  return roleOf(file.document) === 'builder' ? loadBuilderConfig(file) : loadVoucherConfig(file);
}
