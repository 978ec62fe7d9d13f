import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A code-signing certificate issued by openssl under a root; unlike those of the sandbox, it is not marked as a test. */
export async function makeReal(folder: string): Promise<void> {
  const at = (name: string): string => join(folder, name);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const root = ['-x509', '-subj', '/CN=A root', '-addext', 'keyUsage=critical,keyCertSign'];
  await run('openssl', ['req', ...key, ...root, '-keyout', at('root.key'), '-out', at('root.pem')]);
  const issuer = ['-x509', '-CA', at('root.pem'), '-CAkey', at('root.key')];
  const purposes = [
    '-addext',
    'extendedKeyUsage=codeSigning',
    '-addext',
    'basicConstraints=critical,CA:false',
  ];
  const leaf = ['-subj', '/CN=A company', ...purposes, '-keyout', at('real.key'), '-out', at('real.pem')];
  await run('openssl', ['req', ...key, ...issuer, ...leaf]);
}
