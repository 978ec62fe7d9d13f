import { randomBytes } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { provenanceOf, type ProvenanceSource } from '../../../src/app/signer/attachments/provenance.ts';
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

/** What a receipt says of a certificate; nothing if nothing was signed. */
function certificateOf(signing: SignArtifactOptions | undefined): Pick<Receipt, 'certificate' | 'identity'> {
  const leaf = signing?.key.certificates[0];
  if (!leaf) return {};
  const { subject, issuer, serial, sha256 } = leaf;
  const validity = { notBefore: leaf.notBefore.toISOString(), notAfter: leaf.notAfter.toISOString() };
  return {
    certificate: { subject, issuer, serial, sha256, ...validity },
    identity: certificateIdentity(leaf),
  };
}

function receiptOf(file: ReceiptFile, signing?: SignArtifactOptions): Receipt {
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
    ...certificateOf(signing),
    vouches: [{ name: basename(file.input.name), signer: 'carol@example.org', key: KEY, commit: id() }],
    files: [file],
    times: { requested: '2026-03-01T11:59:00.000Z', seen: SIGNED_AT, signed: SIGNED_AT, answered: SIGNED_AT },
  };
}

const POLICY: ProvenanceSource['policy'] = {
  version: 1,
  channels: {
    default: {
      vouches: 1,
      delay: 0,
      unsignedRequests: 'reject',
      pins: 'require',
      requesters: ['*'],
      names: ['**'],
      files: ['**'],
      timestamped: false,
    },
  },
};

const sourceOf = (receipt: Receipt, name: string): ProvenanceSource => ({
  receipt,
  requestIdentity: randomBytes(32).toString('hex'),
  roots: [id()],
  policy: POLICY,
  pinned: new Set([name]),
});

/** Signs `input` to `output`, and makes the provenance that a signer with this receipt key delivers beside it. */
export async function attest(
  input: string,
  output: string,
  { signing, signer }: { readonly signing: SignArtifactOptions; readonly signer: SshSigner },
): Promise<Buffer> {
  const file = await signed(input, output, signing);
  return provenanceOf(sourceOf(receiptOf(file, signing), file.input.name), file, signer);
}

/** The provenance of a file in which nothing was signed: it was delivered as it came. */
export async function attestUnchanged(path: string, signer: SshSigner): Promise<Buffer> {
  const contents = { name: basename(path), size: (await stat(path)).size, sha256: await sha256OfFile(path) };
  const file: ReceiptFile = { input: contents, output: contents, entries: 1, signed: [], kept: [] };
  return provenanceOf(sourceOf(receiptOf(file), contents.name), file, signer);
}
