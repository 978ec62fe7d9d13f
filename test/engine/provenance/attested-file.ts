import { randomBytes } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { provenanceOf, type ProvenanceSource } from '../../../src/app/signer/provenance.ts';
import { signFile } from '../../../src/engine/artifact/sign-file.ts';
import type { SignArtifactOptions } from '../../../src/engine/artifact/signed-artifact.ts';
import { sha256OfFile } from '../../../src/lib/bytes/hash.ts';
import { certificateIdentity } from '../../../src/lib/x509/certificate-identity.ts';
import type { SshSigner } from '../../../src/lib/sshsig/ssh-signer.ts';
import type { Receipt, ReceiptFile } from '../../../src/protocol/control/receipt-schema.ts';

export const SIGNED_AT = '2026-03-01T12:00:00.000Z';
const id = (): string => randomBytes(20).toString('hex');
const KEY = 'SHA256:uLtkK5Vn2dS4bYxXlVZ8GqOYX2CmZ3KzBlwE9Jt5dVw';

/** Signs a file, and returns the receipt's statement about it. */
async function signed(input: string, output: string, signing: SignArtifactOptions): Promise<ReceiptFile> {
  const made = await signFile(input, output, signing);
  const name = basename(input);
  return {
    input: { name, size: (await stat(input)).size, sha256: await sha256OfFile(input) },
    output: { name, ...made.output },
    entries: made.entries,
    signed: made.signed.map(({ path, format, before, after, authenticode }) => ({
      path,
      inside: [],
      format,
      scheme: 'authenticode',
      before,
      after,
      authenticode,
      timestamp: null,
      signature: `signatures/${before.sha256}.p7`,
    })),
    kept: [],
  };
}

function receiptOf(file: ReceiptFile, { key }: SignArtifactOptions): Receipt {
  const [leaf] = key.certificates;
  if (!leaf) throw new Error('a key without certificate');
  const { subject, issuer, serial, sha256 } = leaf;
  const validity = { notBefore: leaf.notBefore.toISOString(), notAfter: leaf.notAfter.toISOString() };
  return {
    version: 2,
    signpipe: '0.1.0',
    signer: { name: 'a signer', key: KEY },
    request: {
      id: id(),
      signer: 'bob@example.org',
      key: KEY,
      requestedAt: '2026-03-01T11:59:00.000Z',
      sourceRevision: 'v1.0',
      channel: 'default',
    },
    outcome: 'signed',
    test: true,
    certificate: { subject, issuer, serial, sha256, ...validity },
    identity: certificateIdentity(leaf),
    vouches: [{ name: basename(file.input.name), signer: 'carol@example.org', key: KEY, commit: id() }],
    files: [file],
    times: { requested: '2026-03-01T11:59:00.000Z', seen: SIGNED_AT, signed: SIGNED_AT, answered: SIGNED_AT },
  };
}

/** Signs `input` to `output`, and makes the provenance that a signer with this receipt key delivers beside it. */
export async function attest(
  input: string,
  output: string,
  { signing, signer }: { readonly signing: SignArtifactOptions; readonly signer: SshSigner },
  change: (source: ProvenanceSource) => void = () => {},
): Promise<Buffer> {
  const file = await signed(input, output, signing);
  const channel = {
    vouches: 1,
    delay: 0,
    unsignedRequests: 'reject',
    pins: 'require',
    requesters: ['*'],
    names: ['**'],
    files: ['**/*.exe'],
    timestamped: false,
  } as const;
  const source: ProvenanceSource = {
    receipt: receiptOf(file, signing),
    requestIdentity: randomBytes(32).toString('hex'),
    roots: [id()],
    policy: {
      version: 1,
      channels: { default: { ...channel, requesters: ['*'], names: ['**'], files: ['**'] } },
    },
    pinned: new Set([file.input.name]),
  };
  change(source);
  return provenanceOf(source, file, signer);
}
