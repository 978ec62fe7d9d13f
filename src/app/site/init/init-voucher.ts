import { join, resolve } from 'node:path';
import { initMember } from './init-member.ts';
import { EXAMPLE_URLS } from './shipped-texts.ts';
import { allowedSignerStep, setupStep, type SetupStep, type SiteSetup } from './site-setup.ts';

/** Creates the files of a voucher in a folder and returns the steps that are left. Throws `init-exists` (usage). */
export function initVoucher(setup: SiteSetup): Promise<SetupStep[]> {
  const { control, identity } = setup;
  const dir = resolve(setup.dir);
  const config = join(dir, 'voucher.yaml');
  return initMember(
    { ...setup, dir },
    {
      role: 'voucher',
      given: { 'control.url': control },
      values: {
        'vouch.name': identity.shortName,
        'requests.email': identity.email,
        'requests.name': identity.name,
      },
      urls: { control: control ?? EXAMPLE_URLS.control },
      moreFiles: [],
      firstSteps: (key) => [allowedSignerStep(key, identity.email)],
      lastSteps: [
        setupStep(
          'Check the site; then build the same source as the builder, and vouch for the result',
          `signpipe doctor -c ${config}`,
          `signpipe vouch -c ${config} build.zip`,
        ),
      ],
    },
  );
}
