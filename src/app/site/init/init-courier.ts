import { join, resolve } from 'node:path';
import { privateFile } from './create-files.ts';
import { initMember } from './init-member.ts';
import { EXAMPLE_URLS, RECEIPT_SIGNERS_TEXT } from './shipped-texts.ts';
import { receiptSignersStep, setupStep, type SetupStep, type SiteSetup } from './site-setup.ts';

/** Creates the files of a courier in a folder and returns the steps that are left. Throws `init-exists` (usage). */
export function initCourier(setup: SiteSetup): Promise<SetupStep[]> {
  const { control, identity } = setup;
  const dir = resolve(setup.dir);
  const config = join(dir, 'courier.yaml');
  const receiptSigners = join(dir, 'keys', 'receipt_signers');
  return initMember(
    { ...setup, dir },
    {
      role: 'courier',
      given: { 'control.url': control },
      values: { name: identity.name },
      urls: { control: control ?? EXAMPLE_URLS.control },
      moreFiles: [privateFile(receiptSigners, RECEIPT_SIGNERS_TEXT)],
      firstSteps: () => [],
      lastSteps: [
        receiptSignersStep(receiptSigners),
        setupStep(
          'Name the timestamp authorities, with the URLs that the signer has for them',
          `$EDITOR ${config}     # authorities`,
        ),
        setupStep(
          'In signer.yaml, write the authorities with "via: courier"; then check the site, and start the courier',
          `signpipe doctor -c ${config}`,
          `signpipe courier -c ${config}`,
        ),
      ],
    },
  );
}
