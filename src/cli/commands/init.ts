import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import type { ZodType } from 'zod';
import { control, exchange } from '../../app/config/common-sections.ts';
import { usage } from '../../lib/errors.ts';
import { createTestCertificate } from '../../sandbox/certificates.ts';
import { toPfx } from '../../sandbox/pkcs12-writer.ts';
import { initAuditor } from '../../app/site/init/init-auditor.ts';
import { initBuilder } from '../../app/site/init/init-builder.ts';
import { initCourier } from '../../app/site/init/init-courier.ts';
import { initVoucher } from '../../app/site/init/init-voucher.ts';
import type { FoundTokenKeys } from '../../app/site/init/find-token-keys.ts';
import { askPassphrase } from '../../engine/keys/passphrase.ts';
import { initControl } from '../../app/site/init/init-control.ts';
import { initSigner, type TestCertificate } from '../../app/site/init/init-signer.ts';
import type { SetupStep, SiteSetup } from '../../app/site/init/site-setup.ts';
import { siteIdentity } from '../../app/site/init/site-identity.ts';
import { print, printJson, type CommonOptions } from '../output/terminal.ts';

export interface InitCommandOptions extends CommonOptions {
  readonly testCertificate?: boolean;
  /** The path of a module, or true: all that are installed. */
  readonly pkcs11?: string | true;
  readonly control?: string;
  readonly exchange?: string;
  readonly name?: string;
  readonly email?: string;
  readonly json?: boolean;
}

/** Creates a self-signed code-signing certificate, marked as a test, with a random passphrase. */
async function makeTestCertificate(): Promise<TestCertificate> {
  const identity = await createTestCertificate({ commonName: 'Test publisher', purpose: 'code-signing' });
  const passphrase = randomBytes(24).toString('base64url');
  return { pfx: toPfx(identity, passphrase, 'Test publisher'), passphrase };
}

/** The keys on tokens, if `--pkcs11` is given. Only for speed: their code is loaded then. */
async function tokenKeys({ pkcs11 }: InitCommandOptions): Promise<FoundTokenKeys | null> {
  if (pkcs11 === undefined) return null;
  const { findTokenKeys } = await import('../../app/site/init/find-token-keys.ts');
  return findTokenKeys({ module: pkcs11 === true ? undefined : pkcs11, ask: askPassphrase });
}

type Layout = (setup: SiteSetup, options: InitCommandOptions) => Promise<SetupStep[]>;

const LAYOUTS: ReadonlyMap<string, Layout> = new Map<string, Layout>([
  [
    'signer',
    async (setup, options) =>
      initSigner({
        ...setup,
        makeTestCertificate: options.testCertificate ? makeTestCertificate : null,
        tokenKeys: await tokenKeys(options),
      }),
  ],
  ['builder', initBuilder],
  ['voucher', initVoucher],
  ['auditor', initAuditor],
  ['courier', initCourier],
  ['control', initControl],
]);

/** What `init` can set up. */
export const SITE_KINDS: readonly string[] = [...LAYOUTS.keys()];
/** The roles that use no exchange. */
const WITHOUT_EXCHANGE: ReadonlySet<string> = new Set(['voucher', 'auditor', 'courier']);

/** Throws `init-url` for a URL that the configuration would refuse, before anything is written. */
function requireUrl(option: string, schema: ZodType, url: string | undefined): void {
  if (url === undefined) return;
  const result = schema.safeParse(url);
  if (!result.success)
    throw usage('init-url', `${option} ${result.error.issues[0]?.message ?? 'cannot be used'}`);
}

const TITLES: ReadonlyMap<string, string> = new Map([
  ['signer', 'A signer was set up'],
  ['builder', 'A builder was set up'],
  ['voucher', 'A voucher was set up'],
  ['auditor', 'An auditor was set up'],
  ['courier', 'A courier was set up'],
  ['control', 'A control repository and an exchange were set up'],
]);

function describeSteps(what: string, dir: string, steps: readonly SetupStep[]): string {
  const lines = steps.flatMap(({ what: todo, lines }, index) => [
    '',
    `${index + 1}. ${todo}${lines.length > 0 ? ':' : ''}`,
    ...lines.map((line) => `     ${line}`),
  ]);
  return [`${TITLES.get(what) ?? ''} in ${resolve(dir)}. What is left to do:`, ...lines].join('\n');
}

/** `signpipe init`: sets up a signer, a builder, a voucher or a control repository, and says what is left to do. */
export async function initCommand(what: string, dir: string, options: InitCommandOptions): Promise<number> {
  const layout = LAYOUTS.get(what);
  if (!layout)
    throw usage('init-what', `"${what}" cannot be set up`, {
      hint: `write: signpipe init ${[...LAYOUTS.keys()].join('|')} DIR`,
    });
  if (options.testCertificate && what !== 'signer')
    throw usage('init-test-certificate', `--test-certificate is for a signer, not for a ${what}`);
  if (options.pkcs11 !== undefined && (what !== 'signer' || options.testCertificate))
    throw usage('init-pkcs11', '--pkcs11 is for a signer, and not together with --test-certificate');
  if (options.exchange !== undefined && WITHOUT_EXCHANGE.has(what))
    throw usage('init-exchange', `--exchange is not for a ${what}, which transfers no file`);
  requireUrl('--control', control.shape.url, options.control);
  requireUrl('--exchange', exchange.shape.url, options.exchange);
  const identity = siteIdentity(what, options);
  const steps = await layout(
    { dir, identity, control: options.control, exchange: options.exchange },
    options,
  );
  if (options.json) printJson({ what, dir: resolve(dir), steps });
  else if (!options.quiet) print(describeSteps(what, dir, steps));
  return 0;
}
