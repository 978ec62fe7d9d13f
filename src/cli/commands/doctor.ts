import { loadAuditorConfig } from '../../app/config/auditor.ts';
import { loadBuilderConfig, loadVoucherConfig } from '../../app/config/builder.ts';
import { loadCourierConfig } from '../../app/config/courier.ts';
import { loadSignerConfig } from '../../app/config/signer.ts';
import { roleOf } from '../../app/config/role.ts';
import { readYaml, type YamlFile } from '../../app/config/yaml.ts';
import { usage } from '../../lib/errors.ts';
import { painter, wantsColour, type Style } from '../../lib/terminal-colors.ts';
import { plural } from '../../lib/plural.ts';
import { printable, printableLines } from '../../lib/printable.ts';
import { worst, type SiteFinding, type Status } from '../../app/site/doctor/check-result.ts';
import { print, printJson, type CommonOptions } from '../output/terminal.ts';

interface DoctorCommandOptions extends CommonOptions {
  readonly config?: string;
  readonly host?: string;
  readonly exchange?: string;
  readonly authorizedKeys?: string;
  readonly sshdConfig?: string;
  readonly json?: boolean;
}

const MARKS: Record<Status, string> = { ok: 'ok     ', warning: 'warning', bad: 'BAD    ' };
const STYLES: Record<Status, Style> = { ok: 'good', warning: 'warning', bad: 'bad' };

/** A table with status, part and finding, and below each finding what to do. A part's name is printed once. */
function table(findings: readonly SiteFinding[]): string {
  const paint = painter(wantsColour(process.stdout));
  const width = Math.max(0, ...findings.map(({ check }) => check.length));
  const lines = findings.flatMap(({ check, status, message, code, hint }, i) => {
    const name = findings[i - 1]?.check === check ? '' : check;
    const tail = status === 'ok' || code === undefined ? '' : ` [${code}]`;
    const text = printableLines(`${message}${tail}`).split('\n');
    const indent = ' '.repeat(MARKS.ok.length + width + 4);
    return [
      `${paint(MARKS[status], STYLES[status])}  ${name.padEnd(width)}  ${text.join(`\n${indent}`)}`,
      ...(hint === undefined || status === 'ok' ? [] : [`${indent}-> ${printable(hint, 4000)}`]),
    ];
  });
  return lines.join('\n');
}

function summary(findings: readonly SiteFinding[]): string {
  const count = (status: Status): number => findings.filter((each) => each.status === status).length;
  return `${count('ok')} ok, ${plural(count('warning'), 'warning')}, ${count('bad')} bad`;
}

interface Examined {
  readonly findings: readonly SiteFinding[];
  /** What the configuration describes. */
  readonly what: string;
}

async function readAndCheckSigner(file: YamlFile): Promise<Examined> {
  const config = await loadSignerConfig(file);
  const { checkSigner } = await import('../../app/site/doctor/doctor.ts');
  return { findings: await checkSigner(config), what: `channels: ${[...config.channels.keys()].join(', ')}` };
}

async function readAndCheckCourier(file: YamlFile): Promise<Examined> {
  const config = await loadCourierConfig(file);
  const { checkCourier } = await import('../../app/site/doctor/doctor-courier.ts');
  return { findings: await checkCourier(config), what: 'a courier' };
}

async function readAndCheckAuditor(file: YamlFile): Promise<Examined> {
  const config = await loadAuditorConfig(file);
  const { checkAuditor } = await import('../../app/site/doctor/doctor-auditor.ts');
  return { findings: await checkAuditor(config), what: 'an auditor' };
}

/** Checks what the file configures. */
async function checkSite(path: string): Promise<Examined> {
  const file = await readYaml(path);
  const role = roleOf(file.document);
  if (role === 'courier') return readAndCheckCourier(file);
  if (role === 'auditor') return readAndCheckAuditor(file);
  if (role === 'signer' || role === null) return readAndCheckSigner(file);
  const { checkBuilder, checkVoucher } = await import('../../app/site/doctor/doctor-builder.ts');
  return role === 'builder'
    ? { findings: await checkBuilder(await loadBuilderConfig(file)), what: 'a builder' }
    : { findings: await checkVoucher(await loadVoucherConfig(file)), what: 'a voucher' };
}

async function examine(options: DoctorCommandOptions): Promise<Examined> {
  const { host, exchange, authorizedKeys, sshdConfig } = options;
  if ((host === undefined) === (options.config === undefined))
    throw usage('doctor-what', 'what is to be checked?', {
      hint: 'give either --config FILE, for this role, or --host DIR, on the machine that serves the control repository',
    });
  if (options.config !== undefined) return checkSite(options.config);
  const { checkHostMachine } = await import('../../app/site/doctor/host/doctor-host.ts');
  const findings = await checkHostMachine({ folder: host ?? '.', exchange, authorizedKeys, sshdConfig });
  return { findings, what: 'the host' };
}

/**
 * `signpipe doctor`: checks a signer, a builder, a voucher, an auditor or a courier by its configuration, or a host. The exit status is 0 if all works (warnings allowed), 1
 * if something does not, and 2 for a configuration that cannot be used.
 */
export async function doctorCommand(options: DoctorCommandOptions): Promise<number> {
  const site = await examine(options);
  const configurationFinding: SiteFinding = {
    check: options.host === undefined ? 'configuration' : 'folder',
    status: 'ok',
    message: `${options.host ?? options.config}; ${site.what}`,
  };
  const findings = [configurationFinding, ...site.findings];
  const status = worst(findings);
  if (options.json) printJson({ status, findings });
  else {
    const shown = options.quiet ? findings.filter((each) => each.status !== 'ok') : findings;
    print([...(shown.length > 0 ? [table(shown)] : []), summary(findings)].join('\n'));
  }
  return status === 'bad' ? 1 : 0;
}
