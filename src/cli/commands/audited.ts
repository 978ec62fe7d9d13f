import { withAuditedRepository } from '../../app/auditor/open-repository.ts';
import type { AuditSigners } from '../../app/auditor/audit-signers.ts';
import { loadAuditorConfig } from '../../app/config/auditor.ts';
import { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { usage, type SignpipeError } from '../../lib/errors.ts';
import { withOpenRepository, type OpenRepository } from '../../protocol/control/with-repository.ts';
import { sayUnlessQuiet, type CommonOptions } from '../output/terminal.ts';

/** Options that say what is audited. */
export interface AuditedOptions extends CommonOptions {
  readonly config?: string;
  readonly repo?: string;
  readonly allowedSigners?: string;
  readonly receiptSigners?: string;
  readonly requests: string;
  readonly receipts: string;
}

/** What is audited: how to open it, and the lists of whose signatures count. */
export interface Audited {
  /** The folder or URL, for the report. */
  readonly name: string;
  readonly loadSigners: () => Promise<AuditSigners>;
  readonly open: <T>(use: (open: OpenRepository) => Promise<T>) => Promise<T>;
}

/** The control repository of a configuration, or that of the command line. */
export async function auditedBy(options: AuditedOptions): Promise<Audited> {
  const { repo, allowedSigners, receiptSigners } = options;
  if (options.config === undefined) {
    const name = repo ?? '.';
    if (allowedSigners === undefined) throw signersMissing();
    return {
      name,
      loadSigners: () => loadSigners(allowedSigners, receiptSigners),
      open: (use) => withOpenRepository(name, options, use),
    };
  }
  if (repo !== undefined || allowedSigners !== undefined || receiptSigners !== undefined)
    throw usage('audit-twice', '--config names the repository and the lists of keys already', {
      hint: 'give either --config, or --repo with --allowed-signers',
    });
  const config = await loadAuditorConfig(options.config);
  const { trust, control } = config;
  return {
    name: control.url,
    loadSigners: () => loadSigners(trust.allowedSigners, trust.receiptSigners),
    open: (use) => withAuditedRepository(config, sayUnlessQuiet(options), use),
  };
}

/**
 * Without a list the audit is refused: only the repository itself could then say whom to trust, and the table would look
 * like a proof.
 */
const signersMissing = (): SignpipeError =>
  usage('audit-signers-missing', 'whose signatures count? The repository itself cannot decide that', {
    hint: 'give --allowed-signers FILE, OpenSSH’s format: builders, vouchers and the signer’s receipt key, past ones with valid-before; or --config, with the auditor.yaml that "signpipe init auditor" makes',
  });

/** Loads the lists of keys whose signatures count. */
async function loadSigners(
  allowedSigners: string,
  receiptSigners: string | undefined,
): Promise<AuditSigners> {
  const allowed = await AllowedSigners.load(allowedSigners);
  if (receiptSigners === undefined) return { allowed };
  return { allowed, receiptSigners: await AllowedSigners.load(receiptSigners) };
}
