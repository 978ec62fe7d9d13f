import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import {
  claimedIdentity,
  signedIdentity,
  verifyCommitSignature,
  type CommitSignature,
} from '../../lib/git/commit-signature.ts';
import { shortId } from '../../lib/git/objects.ts';
import type { Receipt, ReceiptFile } from '../../protocol/control/receipt-schema.ts';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import { readRequest, type Request } from '../../protocol/control/request.ts';
import type { RequestedFile } from '../../protocol/control/zipname.ts';
import type { SignpipeError } from '../../lib/errors.ts';
import { isFault, type Findings } from './findings.ts';
import type { ProvenSigner } from './model.ts';

/** A request and its signer, or why it has no allowed one. */
export interface AuditedRequest {
  readonly request: Request;
  readonly by: CommitSignature | null;
  readonly fault: SignpipeError | null;
}

/** Identifies the signed payload: commits with the same one are one request. Null unless the signature verifies, with any key. */
export const identityOf = ({ request: { raw }, by }: AuditedRequest): string | null =>
  by ? claimedIdentity(raw) : signedIdentity(raw);

export const provenBy = ({ by }: AuditedRequest): ProvenSigner | null =>
  by && { principal: by.principal, key: by.fingerprint };

/** Reads a request and checks its signature. A failure of either is returned, since rejected requests are history too. */
export async function auditRequest(
  repository: ControlRepository,
  id: string,
  allowed: AllowedSigners,
): Promise<AuditedRequest> {
  const request = await readRequest(repository, id);
  try {
    if (request.raw.length === 0 && request.error) throw request.error;
    return { request, by: verifyCommitSignature(request.raw, allowed), fault: null };
  } catch (fault) {
    if (!isFault(fault)) throw fault;
    return { request, by: null, fault };
  }
}

/** Reports objects that are missing or damaged, which is a fault of the repository and not of the request. */
export function reportDamage({ request: { id, error } }: AuditedRequest, findings: Findings): void {
  if (error && ['object-missing', 'object-damaged'].includes(error.code))
    findings.add(error.code, `request ${shortId(id)}: ${error.message}`);
}

/**
 * Checks what a receipt says about its request: who signed it, its channel, revision and time, and that the signed
 * files are those that were requested.
 */
export function compareWithRequest(
  receipt: Receipt,
  audited: AuditedRequest,
  findings: Findings,
  acceptUnsigned: boolean,
): void {
  compareSigner(receipt, audited, findings, acceptUnsigned);
  compareStatements(receipt, audited.request, findings);
  if (hasSigned(receipt)) compareFiles(receipt, audited.request, findings);
}

/** Whether signatures were made, delivered or not. */
export const hasSigned = ({ outcome, files }: Receipt): boolean =>
  outcome === 'signed' || files.some(({ signed }) => signed.length > 0);

/** The last time that a receipt can state; a commit may claim any. */
const LAST_TIME = Date.UTC(9999, 11, 31, 23, 59, 59);

function compareSigner(
  receipt: Receipt,
  { request, by, fault }: AuditedRequest,
  findings: Findings,
  acceptUnsigned: boolean,
): void {
  const id = shortId(request.id);
  const { request: statement } = receipt;
  if (statement.signer === null) {
    if (hasSigned(receipt) && by === null && !acceptUnsigned)
      findings.add(
        'request-unproven',
        `it signed what request ${id} asks for, but the requester is not proved: ${fault?.message ?? 'it is not signed'}`,
      );
  } else if (by === null)
    findings.add(
      fault?.code ?? 'commit-unsigned',
      `it says that ${statement.signer} signed request ${id}: ${fault?.message ?? ''}`,
    );
  else if (!by.principals.includes(statement.signer) || by.fingerprint !== statement.key)
    findings.add(
      'request-signer-differs',
      `it says that request ${id} is signed by ${statement.signer} (${statement.key ?? 'no key'}), and it is by ${by.principal} (${by.fingerprint})`,
    );
}

function compareStatements({ request: statement }: Receipt, request: Request, findings: Findings): void {
  if (request.error) return;
  const differs = (what: string, is: string, says: string): void =>
    findings.add(
      'request-differs',
      `request ${shortId(request.id)} has the ${what} "${is}", the receipt says "${says}"`,
    );
  if (statement.channel !== request.channel) differs('channel', request.channel, statement.channel);
  if (statement.sourceRevision !== request.sourceRevision)
    differs('source revision', request.sourceRevision ?? '', statement.sourceRevision ?? '');
  const time = request.committedAt.getTime();
  if (time >= 0 && time <= LAST_TIME && new Date(statement.requestedAt).getTime() !== time)
    differs('time', request.committedAt.toISOString(), statement.requestedAt);
}

function compareFiles({ files }: Receipt, request: Request, findings: Findings): void {
  if (request.error) {
    findings.add(
      'request-unsound',
      `it signed what request ${shortId(request.id)} asks for, which cannot be read: ${request.error.message}`,
    );
    return;
  }
  if (request.vouch)
    findings.add(
      'vouch-not-request',
      `it signed for ${shortId(request.id)}, which its author meant as a vouch only`,
    );
  const requested = new Map(request.files.map((file) => [file.name, file]));
  for (const file of files) compareFile(file, requested.get(file.input.name), findings);
  const inReceipt = new Set(files.map(({ input }) => input.name));
  for (const name of requested.keys())
    if (!inReceipt.has(name)) findings.add('receipt-file-missing', `${name} was requested, but is not in it`);
}

function compareFile(
  { input, signed }: ReceiptFile,
  requested: RequestedFile | undefined,
  findings: Findings,
): void {
  if (!requested) {
    findings.add('receipt-other-file', `it is about ${input.name}, which the request does not name`);
    return;
  }
  if (requested.sha256 !== undefined && requested.sha256 !== input.sha256)
    findings.add(
      'receipt-other-bytes',
      `${input.name}: it is about ${input.sha256 ?? 'unknown bytes'}, the request pins ${requested.sha256}`,
    );
  if (!requested.entries) return;
  const pins = new Map(requested.entries.map(({ path, sha256 }) => [path, sha256]));
  for (const { path, inside: [container] = [], before } of signed) {
    // What lies inside of containers is pinned by the outermost of them.
    const pin = pins.get(container ?? path);
    const differs = container === undefined && pin !== before.sha256;
    if (pin === undefined ? requested.sha256 === undefined : differs)
      findings.add(
        'receipt-other-bytes',
        `${input.name}!/${[...(container === undefined ? [] : [container]), path].join('!/')}: it is about ${before.sha256}, the request pins ${pin ?? 'nothing'}`,
      );
  }
}
