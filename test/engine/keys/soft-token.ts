import { execFile } from 'node:child_process';
import type { KeyObject } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { keyToPem } from '../../../src/sandbox/certificates.ts';

const run = promisify(execFile);

/** Where Debian, Fedora and a build from source put SoftHSM's module. */
const MODULES = [
  `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu/softhsm/libsofthsm2.so`,
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib64/softhsm/libsofthsm.so',
  '/usr/local/lib/softhsm/libsofthsm2.so',
];

/** A token of SoftHSM 2, in a folder of its own. */
export class SoftToken {
  private constructor(
    private readonly folder: string,
    /** The path of the PKCS#11 module. */
    readonly module: string,
    private readonly label: string,
    private readonly pin: string,
  ) {}

  /** The value of SOFTHSM2_CONF, without which the module does not find the token. */
  get configuration(): string {
    return join(this.folder, 'softhsm2.conf');
  }

  static async create(
    folder: string,
    { label, pin }: { readonly label: string; readonly pin: string },
  ): Promise<SoftToken> {
    const module = MODULES.find((path) => existsSync(path));
    if (module === undefined) throw new Error('SoftHSM is not installed');
    const token = new SoftToken(folder, module, label, pin);
    await mkdir(join(folder, 'tokens'), { recursive: true });
    await writeFile(token.configuration, `directories.tokendir = ${folder}/tokens\nlog.level = ERROR\n`);
    await token.utility('--init-token', '--free', '--label', label, '--pin', pin, '--so-pin', '12345678');
    return token;
  }

  /** Puts a private key into the token. `id` is in hex. */
  async importKey(
    key: KeyObject,
    { id, label }: { readonly id: string; readonly label: string },
  ): Promise<void> {
    const file = join(this.folder, 'import.pem');
    await writeFile(file, keyToPem(key), { mode: 0o600 });
    const names = ['--token', this.label, '--pin', this.pin, '--id', id, '--label', label];
    await this.utility('--import', file, ...names);
    await rm(file);
  }

  private async utility(...args: readonly string[]): Promise<void> {
    const env = { ...process.env, SOFTHSM2_CONF: this.configuration };
    await run('softhsm2-util', args, { env, timeout: 30_000 });
  }
}
