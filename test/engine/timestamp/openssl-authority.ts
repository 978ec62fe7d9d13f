import { writeFile } from 'node:fs/promises';
import { keyToPem, toPem, type TestIdentity } from '../../../src/sandbox/certificates.ts';
import type { OpensslFolder } from '../keys/openssl.ts';

/** `openssl ts` as a timestamp authority. Two at a time would race on its serial file, so it answers one request at a time. */
export class OpensslAuthority {
  private last: Promise<unknown> = Promise.resolve();

  private constructor(private readonly work: OpensslFolder) {}

  /** `essDigest` chooses the version of the attribute with the ESSCertID: sha1 the first, others the second. */
  static async create(
    work: OpensslFolder,
    identity: TestIdentity,
    essDigest: string,
  ): Promise<OpensslAuthority> {
    await writeFile(work.path('tsa.key'), keyToPem(identity.key));
    await writeFile(work.path('tsa.pem'), toPem([identity.certificate]));
    await writeFile(work.path('tsa-above.pem'), toPem(identity.chain.slice(1)));
    await writeFile(work.path('serial'), '1000\n');
    const lines = [
      '[tsa]',
      'default_tsa = one',
      '[one]',
      'serial = serial',
      'signer_cert = tsa.pem',
      'certs = tsa-above.pem',
      'signer_key = tsa.key',
      'signer_digest = sha256',
      'default_policy = 1.3.6.1.4.1.32473.2',
      'other_policies = 1.3.6.1.4.1.32473.3',
      'digests = sha256, sha384, sha512',
      'accuracy = secs:1, millisecs:500, microsecs:100',
      'clock_precision_digits = 3',
      'ordering = yes',
      'tsa_name = yes',
      'ess_cert_id_chain = yes',
      `ess_cert_id_alg = ${essDigest}`,
    ];
    await writeFile(work.path('tsa.cnf'), `${lines.join('\n')}\n`);
    return new OpensslAuthority(work);
  }

  /** Returns the TimeStampResp for a TimeStampReq, which is a file in the folder. */
  async reply(query: string, reply: string): Promise<void> {
    const turn = this.last.then(() =>
      this.work.openssl(`ts -reply -config tsa.cnf -queryfile ${query} -out ${reply}`),
    );
    this.last = turn.catch(() => {});
    await turn;
  }
}
