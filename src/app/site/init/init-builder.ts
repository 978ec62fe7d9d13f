import { join, resolve } from 'node:path';
import { privateFile } from './create-files.ts';
import { initMember } from './init-member.ts';
import { EXAMPLE_URLS, RECEIPT_SIGNERS_TEXT } from './shipped-texts.ts';
import {
  allowedSignerStep,
  receiptSignersStep,
  setupStep,
  type SetupStep,
  type SiteSetup,
} from './site-setup.ts';

/** Creates the files of a builder in a folder and returns the steps that are left. Throws `init-exists` (usage). */
export function initBuilder(setup: SiteSetup): Promise<SetupStep[]> {
  const { control, exchange, identity } = setup;
  const dir = resolve(setup.dir);
  const config = join(dir, 'builder.yaml');
  const receiptSigners = join(dir, 'keys', 'receipt_signers');
  return initMember(
    { ...setup, dir },
    {
      role: 'builder',
      given: { 'control.url': control, 'exchange.url': exchange },
      values: {
        'vouch.name': identity.shortName,
        'requests.email': identity.email,
        'requests.name': identity.name,
      },
      urls: {
        control: control ?? EXAMPLE_URLS.control,
        exchange: exchange ?? EXAMPLE_URLS.exchange('build'),
      },
      moreFiles: [privateFile(receiptSigners, RECEIPT_SIGNERS_TEXT)],
      firstSteps: (key) => [allowedSignerStep(key, identity.email)],
      lastSteps: [
        receiptSignersStep(receiptSigners),
        setupStep(
          'Check the site, then request a signature',
          `signpipe doctor -c ${config}`,
          `signpipe submit -c ${config} build.zip --wait`,
        ),
      ],
    },
  );
}
