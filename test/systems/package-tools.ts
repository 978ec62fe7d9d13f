import { requireTools, type Tools } from '../tools.ts';

/** Programs that only tests of packages need, and the Debian package of each. */
const TOOLS: Tools = {
  lintian: 'lintian',
  'dpkg-deb': 'dpkg',
  strip: 'binutils',
  mmdebstrap: 'mmdebstrap',
  zsh: 'zsh',
  fish: 'fish',
  man: 'man-db',
  mandoc: 'mandoc',
  jq: 'jq',
};

/** Installs what is missing; fails with its name if that is not possible. */
export const providePackageTools = (): void => requireTools(TOOLS);
