import { join } from 'node:path';
import { createFiles, privateFile, publicFile, sshKeyPair, type FileToCreate } from './create-files.ts';
import { setValues } from './edit-yaml.ts';
import { readShippedFile } from './shipped-files.ts';
import { KNOWN_HOSTS_TEXT } from './shipped-texts.ts';
import { urlSteps, type SetupStep, type SiteSetup } from './site-setup.ts';
import { sshSteps, type SiteUrls } from './ssh-steps.ts';

/** The key that was made, for the steps that hand out its line. */
export interface NewKey {
  readonly file: string;
  readonly publicLine: string;
}

/** A role with one SSH key and a configuration ROLE.yaml, which is the example with a site's values. */
export interface Member {
  readonly role: 'builder' | 'voucher' | 'courier' | 'auditor';
  /** The URLs in its configuration, by their names there. */
  readonly given: Readonly<Record<string, string | undefined>>;
  /** Other values in its configuration. */
  readonly values: Readonly<Record<string, string>>;
  /** The same URLs; those of the example if none were given. */
  readonly urls: SiteUrls;
  readonly moreFiles: readonly FileToCreate[];
  /** The steps before those for the hosts. */
  readonly firstSteps: (key: NewKey) => readonly SetupStep[];
  /** The steps after those for the hosts. */
  readonly lastSteps: readonly SetupStep[];
}

/** Creates the files of a member in a folder (absolute), and returns the steps that are left. Throws `init-exists` (usage). */
export async function initMember({ dir, identity }: SiteSetup, member: Member): Promise<SetupStep[]> {
  const { role, given, urls } = member;
  const config = join(dir, `${role}.yaml`);
  const knownHosts = join(dir, 'keys', 'known_hosts');
  const file = join(dir, 'keys', `${role}_ed25519`);
  const example = await readShippedFile(`keys.example/${role}.yaml`);
  let key = '';
  await createFiles([
    publicFile(config, setValues(example, { ...member.values, ...given })),
    sshKeyPair(file, identity.email, (line) => (key = line)),
    ...member.moreFiles,
    privateFile(knownHosts, KNOWN_HOSTS_TEXT),
  ]);
  return [
    ...urlSteps(config, given),
    ...member.firstSteps({ file, publicLine: key }),
    ...sshSteps(urls, { user: identity.shortName, role, key, knownHosts }),
    ...member.lastSteps,
  ];
}
