import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { must } from '../../engine/authenticode/tools.ts';

/** A TLS certificate for 127.0.0.1 and localhost, which is its own authority. */
export interface LoopbackTls {
  readonly key: string;
  readonly cert: string;
  /** The certificate's file, for NODE_EXTRA_CA_CERTS. */
  readonly file: string;
}

export async function createLoopbackTls(folder: string): Promise<LoopbackTls> {
  const [keyFile, file] = [join(folder, 'tls.key'), join(folder, 'tls.pem')];
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', keyFile];
  const name = [
    '-subj',
    '/CN=loopback',
    '-addext',
    'subjectAltName=IP:127.0.0.1,DNS:localhost',
    '-days',
    '2',
  ];
  await must('openssl', 'req', '-x509', ...key, ...name, '-out', file);
  return { key: await readFile(keyFile, 'utf8'), cert: await readFile(file, 'utf8'), file };
}
