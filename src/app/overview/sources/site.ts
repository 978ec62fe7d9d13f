import { loadAuditorConfig, type AuditorConfig } from '../../config/auditor.ts';
import {
  loadBuilderConfig,
  loadVoucherConfig,
  type BuilderConfig,
  type VoucherConfig,
} from '../../config/builder.ts';
import { loadSignerConfig, type SignerConfig } from '../../config/signer.ts';
import { otherRole, otherRoleHint, roleOf } from '../../config/role.ts';
import { readYaml } from '../../config/yaml.ts';
import { usage } from '../../../lib/errors.ts';
import type { KnownRepository } from './fetching-status.ts';

/** The configuration of one reader. */
export type Site =
  | { readonly role: 'signer'; readonly config: SignerConfig }
  | { readonly role: 'builder'; readonly config: BuilderConfig | VoucherConfig }
  | { readonly role: 'auditor'; readonly config: AuditorConfig };

/** Reads the configuration of a signer, builder, voucher or auditor. */
export async function readSite(path: string): Promise<Site> {
  const file = await readYaml(path);
  switch (roleOf(file.document)) {
    case 'auditor':
      return { role: 'auditor', config: await loadAuditorConfig(file) };
    case 'builder':
      return { role: 'builder', config: await loadBuilderConfig(file) };
    case 'voucher':
      return { role: 'builder', config: await loadVoucherConfig(file) };
    case 'courier':
      throw usage('config-role', otherRole(path, 'courier', READERS), { hint: otherRoleHint(READERS) });
    case 'signer':
    case null:
      return { role: 'signer', config: await loadSignerConfig(file) };
  }
}

/** The roles whose configurations say which history to read, and whose keys count. */
const READERS = ['signer', 'builder', 'voucher', 'auditor'] as const;

/** Opens the clone of a site. `say` reports keys that others may read. */
export async function openSite(site: Site, say: (line: string) => void): Promise<KnownRepository> {
  if (site.role === 'signer') return (await import('./signer-status.ts')).openForSigner(site.config);
  const { openForAuditor, openForBuilder } = await import('./fetching-status.ts');
  return site.role === 'auditor' ? openForAuditor(site.config, say) : openForBuilder(site.config, say);
}
