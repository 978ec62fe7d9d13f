import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { verify } from 'node:crypto';
import { describeKey, openSigningKey } from '../../../../src/engine/keys/open.ts';
import type { SigningKey } from '../../../../src/engine/keys/signing-key.ts';

type OpenOptions = Partial<Parameters<typeof openSigningKey>[1]>;

export const openUri = (key: string, certificate?: string, options: OpenOptions = {}): Promise<SigningKey> =>
  openSigningKey(describeKey({ key, certificate }), { warn: assert.fail, ...options });

/** Opens a key for `use`, and closes it. */
export async function withKey<T>(uri: string, use: (key: SigningKey) => Promise<T>): Promise<T> {
  const key = await openUri(uri);
  try {
    return await use(key);
  } finally {
    await key.close();
  }
}

/** Signs, and asserts that the signature is right. */
export async function signs(key: SigningKey, hash: 'sha256' | 'sha384' | 'sha512' = 'sha256'): Promise<void> {
  const data = Buffer.from(`signed at ${performance.now()}`);
  const { value, certificates } = await key.sign(hash, data);
  assert.ok(
    certificates[0] && verify(hash, data, certificates[0].publicKey, value),
    'the signature is wrong',
  );
}

const proc = (pid: string, file: string): string => {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return ''; // It has ended.
  }
};

export interface ModuleChild {
  readonly pid: number;
  readonly commandLine: string;
  readonly environment: string;
  readonly limits: string;
}

/** The processes that a process has started for modules. */
export const moduleProcesses = (parent = process.pid): ModuleChild[] =>
  readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && new RegExp(`^PPid:\\t${parent}$`, 'm').test(proc(pid, 'status')))
    .map((pid) => ({
      pid: Number(pid),
      commandLine: proc(pid, 'cmdline'),
      environment: proc(pid, 'environ'),
      limits: proc(pid, 'limits'),
    }))
    .filter(({ commandLine }) => /module-script\.ts|pkcs11-module\.js/.test(commandLine));
