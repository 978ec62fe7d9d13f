import { execFile } from 'node:child_process';
import assert from 'node:assert/strict';
import { createPublicKey, type KeyObject } from 'node:crypto';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createTestCertificate, type TestIdentity } from '../../src/sandbox/certificates.ts';
import { parseDer } from '../../src/lib/asn1/der.ts';
import { LoadedModule } from '../../src/engine/keys/pkcs11/loaded-module.ts';
import type { TokenKey } from '../../src/engine/keys/pkcs11/module-calls.ts';
import { findModule } from '../../src/engine/keys/pkcs11/module-path.ts';
import type { Certificate } from '../../src/lib/x509/certificate.ts';

const run = promisify(execFile);

const SO_PIN = 'so-pin-8412';

/** The PIN of the tests' tokens. Nothing that signpipe writes may show it. */
export const PIN = 'marked-pin-7351';

interface TokenKeyOptions {
  readonly token?: string;
  readonly label: string;
  /** In hex. */
  readonly id: string;
  /** As pkcs11-tool names it: `rsa:2048`, `EC:secp256r1`. */
  readonly type?: string;
  /** More options for pkcs11-tool. */
  readonly more?: readonly string[];
}

/** JSON Web Keys have the names of the curves by the size of their points. */
const CURVES: ReadonlyMap<number, string> = new Map([
  [65, 'P-256'],
  [97, 'P-384'],
  [133, 'P-521'],
]);

function publicKeyOf({ modulus, ecPoint }: TokenKey): KeyObject {
  const base64url = (bytes: Buffer): string => bytes.toString('base64url');
  if (modulus)
    return createPublicKey({ format: 'jwk', key: { kty: 'RSA', n: base64url(modulus), e: 'AQAB' } });
  assert.ok(ecPoint);
  const point = parseDer(ecPoint, 'CKA_EC_POINT').body;
  const [x, y] = [1, 1 + (point.length - 1) / 2].map((at) =>
    base64url(point.subarray(at, at + (point.length - 1) / 2)),
  );
  return createPublicKey({
    format: 'jwk',
    key: { kty: 'EC', crv: CURVES.get(point.length) ?? '', x: x ?? '', y: y ?? '' },
  });
}

/** SoftHSM's tokens in a folder of their own, filled by pkcs11-tool. Sets SOFTHSM2_CONF for this process. */
export class SoftHsm {
  private constructor(
    readonly folder: string,
    /** The path of SoftHSM's module. */
    readonly module: string,
  ) {}

  /** Creates the folder with one token of this label, whose PIN is in the file `pin`. */
  static async create(label = 'release'): Promise<SoftHsm> {
    const folder = await mkdtemp(join(tmpdir(), 'signpipe-softhsm-'));
    await mkdir(join(folder, 'tokens'));
    await writeFile(join(folder, 'pin'), `${PIN}\n`, { mode: 0o600 });
    const configuration = `directories.tokendir = ${folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n`;
    await writeFile(join(folder, 'softhsm2.conf'), configuration);
    process.env['SOFTHSM2_CONF'] = join(folder, 'softhsm2.conf');
    const module = await findModule('softhsm2');
    if (module === undefined) throw new Error('SoftHSM has no module in the usual folders');
    const hsm = new SoftHsm(folder, module);
    await hsm.addToken(label);
    return hsm;
  }

  at(name: string): string {
    return join(this.folder, name);
  }

  /** A URI with this path for SoftHSM's module and the right PIN. */
  uri(path: string, { module = this.module, pin = this.at('pin'), more = '' } = {}): string {
    return `pkcs11:${path}?module-path=${module}&pin-source=file:${pin}${more}`;
  }

  async addToken(label: string): Promise<void> {
    const pins = ['--pin', PIN, '--so-pin', SO_PIN];
    await run('softhsm2-util', ['--init-token', '--free', '--label', label, ...pins]);
  }

  /** The command that runs pkcs11-tool, logged in to a token. */
  toolCommand(token: string, ...args: readonly string[]): [string, ...string[]] {
    const login = ['--module', this.module, '--token-label', token, '--login', '--pin', PIN];
    return ['pkcs11-tool', ...login, ...args];
  }

  async tool(token: string, ...args: readonly string[]): Promise<string> {
    const [program, ...rest] = this.toolCommand(token, ...args);
    return (await run(program, rest)).stdout;
  }

  /** Makes a key pair on a token. */
  async makeKey({
    token = 'release',
    label,
    id,
    type = 'rsa:2048',
    more = [],
  }: TokenKeyOptions): Promise<void> {
    await this.tool(token, '--keypairgen', '--key-type', type, '--label', label, '--id', id, ...more);
  }

  /** Issues a certificate for the public key on a token; writes it there too if asked for. */
  async certify(
    { token = 'release', label, id }: TokenKeyOptions,
    { issuer, write = true }: { readonly issuer: TestIdentity; readonly write?: boolean },
  ): Promise<Certificate> {
    const key = this.publicKey(token, id);
    const commonName = `Publisher ${label}`;
    const { certificate } = await createTestCertificate({ commonName, purpose: 'code-signing', issuer, key });
    if (write) await this.writeCertificate({ token, label, id }, certificate);
    return certificate;
  }

  /** The public key with an id; pkcs11-tool reads only some curves. */
  publicKey(token: string, id: string): KeyObject {
    const module = new LoadedModule();
    module.load(this.module);
    try {
      const slot = module.tokens().find(({ label }) => label === token)?.slot;
      assert.ok(slot);
      module.openSessions({ slot, count: 1 });
      module.login(PIN);
      const [key] = module.keys({ label: undefined, id: Buffer.from(id, 'hex') });
      assert.ok(key);
      return publicKeyOf(key);
    } finally {
      module.close();
    }
  }

  async writeCertificate(
    { token = 'release', label, id }: TokenKeyOptions,
    certificate: Certificate,
  ): Promise<void> {
    const file = this.at(`certificate-${id}.der`);
    await writeFile(file, certificate.raw);
    await this.tool(token, '--write-object', file, '--type', 'cert', '--label', label, '--id', id);
  }

  /** Takes all tokens away; the result puts them back. */
  async pullOut(): Promise<() => Promise<void>> {
    await rename(this.at('tokens'), this.at('away'));
    await mkdir(this.at('tokens'));
    return async () => {
      await rm(this.at('tokens'), { recursive: true });
      await rename(this.at('away'), this.at('tokens'));
    };
  }

  remove(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true });
  }
}
