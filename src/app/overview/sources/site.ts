import { loadAuditorConfig, type AuditorConfig } from '../../config/auditor.ts';
import {
  loadBuilderConfig,
  loadVoucherConfig,
  type BuilderConfig,
  type VoucherConfig,
} from '../../config/builder.ts';
import { loadSignerConfig, type SignerConfig } from '../../config/signer.ts';
import { readYaml, sectionsOf } from '../../config/yaml.ts';
import type { KnownRepository } from './fetching-status.ts';

/** The configuration of one reader. */
export type Site =
  | { readonly role: 'signer'; readonly config: SignerConfig }
  | { readonly role: 'builder'; readonly config: BuilderConfig | VoucherConfig }
  | { readonly role: 'auditor'; readonly config: AuditorConfig };

/** Reads a configuration of a builder, voucher or auditor, or else of a signer; as `doctor` tells them apart. */
export async function readSite(path: string): Promise<Site> {
  const file = await readYaml(path);
  const sections = sectionsOf(file);
  const has = (...names: string[]): boolean => names.some((name) => sections.has(name));
  if (has('signing', 'receipts') || !has('requests', 'trust'))
    return { role: 'signer', config: await loadSignerConfig(file) };
  if (!has('requests', 'exchange')) return { role: 'auditor', config: await loadAuditorConfig(file) };
  const config = await (has('exchange') ? loadBuilderConfig(file) : loadVoucherConfig(file));
  return { role: 'builder', config };
}

/** Opens the clone of a site. `say` reports keys that others may read. */
export async function openSite(site: Site, say: (line: string) => void): Promise<KnownRepository> {
  if (site.role === 'signer') return (await import('./signer-status.ts')).openForSigner(site.config);
  const { openForAuditor, openForBuilder } = await import('./fetching-status.ts');
  return site.role === 'auditor' ? openForAuditor(site.config, say) : openForBuilder(site.config, say);
}
