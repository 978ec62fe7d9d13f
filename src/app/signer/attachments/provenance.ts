import { createHash } from 'node:crypto';
import { signEnvelope } from '../../../lib/dsse/envelope.ts';
import { SignpipeError } from '../../../lib/errors.ts';
import type { SshSigner } from '../../../lib/sshsig/ssh-signer.ts';
import {
  SIGNING_PREDICATE,
  signingStatement,
  type AttestedProgram,
  type SigningStatement,
} from '../../../engine/provenance/signing-statement.ts';
import { STATEMENT_PAYLOAD, statementAbout } from '../../../engine/provenance/statement.ts';
import {
  SLSA_VERSION,
  SUMMARY_PREDICATE,
  summaryStatement,
  type SummaryStatement,
} from '../../../engine/provenance/verification-summary.ts';
import { channelIn, policyBytes, type PublishedPolicy } from '../../../protocol/control/published-policy.ts';
import type { Receipt, ReceiptEntry, ReceiptFile } from '../../../protocol/control/receipt-schema.ts';

/** What the provenance of a request's files is made of: the receipt, and what no receipt says. */
export interface ProvenanceSource {
  /** Complete but for the times after signing. */
  readonly receipt: Receipt;
  /** See `signedIdentity`. */
  readonly requestIdentity: string | null;
  /** The pinned roots of the control repository. */
  readonly roots: readonly string[];
  readonly policy: PublishedPolicy;
  /** The files whose digest the request named. */
  readonly pinned: ReadonlySet<string>;
}

/** The end of the name of a file of provenance, as in-toto's specification of bundles has it. */
export const PROVENANCE_SUFFIX = '.intoto.jsonl';

/** URIs of this program's own: the domain is reserved (RFC 2606), so that nothing else has them. */
const uri = (...parts: readonly string[]): string =>
  ['https://signpipe.invalid', ...parts.map(encodeURIComponent)].join('/');

/** The input of a file that was read as a whole, and its output. */
function wholeFile({ input, output }: ReceiptFile) {
  if (input.size === undefined || input.sha256 === undefined || output?.sha256 === undefined)
    throw new SignpipeError('local', 'provenance-unsound', `${input.name}: was not read as a whole`, {
      hint: 'this is a bug: please report it',
    });
  const contents = { name: input.name, size: input.size, digest: { sha256: input.sha256 } };
  return { input: contents, output: { name: output.name, size: output.size, sha256: output.sha256 } };
}

const contentsOf = ({ size, sha256 }: ReceiptEntry['before']): AttestedProgram['before'] => ({
  size,
  digest: { sha256 },
});

const programOf = ({
  path,
  inside,
  format,
  scheme,
  before,
  after,
  authenticode,
  certificate,
  timestamp,
}: ReceiptEntry): AttestedProgram => ({
  path,
  ...(inside && { inside }),
  ...(format !== undefined && { format }),
  ...(scheme !== undefined && { scheme }),
  before: contentsOf(before),
  after: contentsOf(after),
  signed: { algorithm: authenticode.algorithm, digest: authenticode.digest },
  ...(certificate !== undefined && { certificate }),
  timestamp,
});

function requestOf({
  receipt,
  requestIdentity,
  roots,
}: ProvenanceSource): SigningStatement['predicate']['request'] {
  const { id, signer, key, requestedAt, sourceRevision, channel } = receipt.request;
  return {
    id,
    roots: [...roots],
    channel,
    requester: signer === null || key === null ? null : { principal: signer, key },
    identity: requestIdentity,
    requestedAt,
    ...(sourceRevision !== undefined && { sourceRevision }),
  };
}

const sha256Of = (bytes: Buffer): { sha256: string } => ({
  sha256: createHash('sha256').update(bytes).digest('hex'),
});

/** The statement that says how a file was signed. */
function signingStatementOf(
  source: ProvenanceSource,
  file: ReceiptFile,
  signer: SshSigner,
): SigningStatement {
  const { receipt, policy } = source;
  const { input, output } = wholeFile(file);
  const { seen, fetched, signed } = receipt.times;
  return signingStatement.parse({
    ...statementAbout(SIGNING_PREDICATE, output),
    predicate: {
      input,
      output: { size: output.size },
      programs: file.signed.map(programOf),
      request: requestOf(source),
      vouches: receipt.vouches.map(({ name, signer: principal, key, commit }) => ({
        name,
        principal,
        key,
        commit,
      })),
      policy: {
        digest: sha256Of(policyBytes(policy)),
        channel: channelIn(policy, receipt.request.channel) ?? {},
      },
      test: receipt.test,
      certificate: receipt.certificate,
      identity: receipt.identity,
      signer: { name: receipt.signer?.name ?? '', key: signer.fingerprint, version: receipt.signpipe },
      times: { seen, ...(fetched !== undefined && { fetched }), signed: signed ?? seen },
    },
  });
}

/**
 * What the signer verified: SLSA's build track not at all, but that a permitted key signed the request, that it pins
 * the bytes, and how many others vouched for them. The levels beside SLSA's are this program's own.
 */
function levelsOf({ receipt, pinned }: ProvenanceSource, name: string): string[] {
  const vouchers = new Set(receipt.vouches.map(({ signer }) => signer)).size;
  return [
    'SLSA_BUILD_LEVEL_0',
    ...(receipt.request.key === null ? [] : ['SIGNPIPE_REQUEST_SIGNED']),
    ...(pinned.has(name) ? ['SIGNPIPE_BYTES_PINNED'] : []),
    ...(vouchers > 0 ? [`SIGNPIPE_VOUCHED_${vouchers}`] : []),
  ];
}

/** The statement that says what the signer verified before it signed a file. */
function summaryStatementOf(
  source: ProvenanceSource,
  file: ReceiptFile,
  signer: SshSigner,
): SummaryStatement {
  const { receipt, roots, policy } = source;
  const { output } = wholeFile(file);
  const { id, channel } = receipt.request;
  const [root = 'unpinned'] = roots;
  const commits = [id, ...receipt.vouches.map(({ commit }) => commit)];
  return summaryStatement.parse({
    ...statementAbout(SUMMARY_PREDICATE, output),
    predicate: {
      verifier: { id: uri('signer', signer.fingerprint) },
      timeVerified: receipt.times.signed ?? receipt.times.seen,
      resourceUri: uri('file', root, channel, output.name),
      policy: { uri: uri('policy', root), digest: sha256Of(policyBytes(policy)) },
      inputAttestations: commits.map((commit) => ({
        uri: `gitoid:commit:sha1:${commit}`,
        digest: { gitCommit: commit },
      })),
      verificationResult: 'PASSED',
      verifiedLevels: levelsOf(source, file.input.name),
      slsaVersion: SLSA_VERSION,
    },
  });
}

/** The content of `NAME.intoto.jsonl`: two envelopes, signed by the key that signs receipts. */
export async function provenanceOf(
  source: ProvenanceSource,
  file: ReceiptFile,
  signer: SshSigner,
): Promise<Buffer> {
  const statements = [signingStatementOf(source, file, signer), summaryStatementOf(source, file, signer)];
  let lines = '';
  for (const statement of statements)
    lines += `${await signEnvelope(STATEMENT_PAYLOAD, Buffer.from(JSON.stringify(statement)), signer)}\n`;
  return Buffer.from(lines);
}
