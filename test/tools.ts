import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';

/** Programs, by name or by absolute path, and the Debian package of each. */
export type Tools = Readonly<Record<string, string>>;

/** The programs with which the tests check results, none of them ours, and the Debian package of each. */
const TOOLS: Tools = {
  ssh: 'openssh-client',
  'ssh-keygen': 'openssh-client',
  'ssh-agent': 'openssh-client',
  scp: 'openssh-client',
  sftp: 'openssh-client',
  sshd: 'openssh-server',
  osslsigncode: 'osslsigncode',
  sbverify: 'sbsigntool',
  cabextract: 'cabextract',
  gcab: 'gcab',
  sbsign: 'sbsigntool',
  pesign: 'pesign',
  certutil: 'libnss3-tools',
  pk12util: 'libnss3-tools',
  msiextract: 'msitools',
  msidump: 'msitools',
  msiinfo: 'msitools',
  wixl: 'wixl',
  openssl: 'openssl',
  xmlsec1: 'xmlsec1',
  xmllint: 'libxml2-utils',
  git: 'git',
  curl: 'curl',
  zip: 'zip',
  unzip: 'unzip',
  '7z': 'p7zip-full',
  python3: 'python3',
  gpg: 'gnupg',
  minisign: 'minisign',
  chromium: 'chromium',
  faketime: 'faketime',
  'softhsm2-util': 'softhsm2',
  'pkcs11-tool': 'opensc',
  'p11-kit': 'p11-kit',
  ip: 'iproute2',
  dash: 'dash',
  shellcheck: 'shellcheck',
  'systemd-notify': 'systemd',
};

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Folders of servers, which an ordinary user's PATH lacks. */
const SERVER_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

function isInstalled(command: string): boolean {
  if (isAbsolute(command)) return isExecutable(command);
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...SERVER_FOLDERS];
  return folders.some((folder) => folder !== '' && isExecutable(join(folder, command)));
}

const missingTools = (tools: Tools): string[] =>
  Object.keys(tools).filter((command) => !isInstalled(command));

function packagesFor(tools: Tools, commands: readonly string[]): string[] {
  return [
    ...new Set(
      commands.flatMap((command) => (Object.hasOwn(tools, command) ? tools[command] : undefined) ?? []),
    ),
  ].sort();
}

/**
 * Whether the tests may install packages: as root on Debian, in CI or a container. On a machine with an init
 * system the package of sshd would open a port, so there a person decides.
 */
function mayInstall(): boolean {
  const unattended = Boolean(process.env['CI']) || !existsSync('/run/systemd/system');
  return process.getuid?.() === 0 && existsSync('/etc/debian_version') && unattended;
}

function apt(...args: string[]): void {
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  // Test files that run at the same time may both install something.
  const patient = ['-o', 'DPkg::Lock::Timeout=300'];
  spawnSync('apt-get', [...patient, ...args], { stdio: ['ignore', 'inherit', 'inherit'], env: environment });
}

/** Installs missing tools, if the tests may do that. Returns a message that names the tools still missing, or null. */
export function provide(tools: Tools): string | null {
  const missing = missingTools(tools);
  if (missing.length === 0) return null;
  const packages = packagesFor(tools, missing);
  if (mayInstall()) {
    apt('update', '--quiet');
    apt('install', '--yes', '--quiet', '--no-install-recommends', ...packages);
  }
  const still = missingTools(tools);
  if (still.length === 0) return null;
  return (
    `The tests need ${still.join(', ')}, which ${still.length === 1 ? 'is' : 'are'} not installed. On Debian or Ubuntu:\n` +
    `  sudo apt-get update && sudo apt-get install --no-install-recommends ${packagesFor(tools, still).join(' ')}`
  );
}

/** Provides what only one systems test needs; throws an error that names what is still missing. */
export function requireTools(tools: Tools): void {
  const problem = provide(tools);
  if (problem !== null) throw new Error(problem);
}

/** Provides what all tests need. */
export const provideTools = (): string | null => provide(TOOLS);
