import { z } from 'zod';
import { quoted, withHint, type ServiceHints, type ServiceProblem } from '../cloud/service-errors.ts';
import { AZURE_PROBLEMS, explainAzureError } from '../cloud/azure-errors.ts';
import type { RestAnswer } from './rest-client.ts';

const text = z.string().max(100_000);
const stated = z.object({ code: text.optional(), message: text.optional() }).nullish();
const result = z.object({ signature: text, signingCertificate: text });

/**
 * The state of a signing operation (Azure.CodeSigning data plane, 2023-06-15-preview: CertificateProfileOperations_Sign and
 * _GetCodeSigningStatus). The service names the operation in the answer or in Operation-Location alone.
 */
const operation = z.object({
  id: text.optional(),
  operationId: text.optional(),
  status: text,
  error: stated,
  errorDetail: stated,
  result: result.nullish().catch(null),
});

/** An error answer: of the service (`error`, `errorDetail`), or of the framework below it (RFC 9457: `title`). */
const refusal = z.object({ error: stated, errorDetail: stated, title: text.optional() }).catch({});

/** An answer that is no signature. It holds nothing of the request. */
export class ServiceAnswerError extends Error {
  constructor(readonly problem: ServiceProblem) {
    super(problem.said ?? problem.problem);
  }
}

const HINTS: ServiceHints = {
  credentials:
    'set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET (or AZURE_CLIENT_CERTIFICATE_PATH), or give the machine a managed identity; renew a secret that has expired',
  denied: 'give the account the role Artifact Signing Certificate Profile Signer for the certificate profile',
  missing: 'check account and profile in signing.key, and that the endpoint is that of the account’s region',
  throttled: 'lower signing.concurrency, or choose a larger plan',
};

const statedText = ({ error, errorDetail, title }: z.infer<typeof refusal>): string => {
  const { code, message } = error ?? errorDetail ?? {};
  return quoted([code, message ?? title].filter(Boolean).join(': '));
};

/** Throws a `ServiceAnswerError` unless the status of an answer is 200 or 202. */
export function requireAccepted({ status, retryAfterMs, body }: RestAnswer): void {
  if (status === 200 || status === 202) return;
  const said = [`HTTP ${status}`, statedText(refusal.parse(body))].filter(Boolean).join(', ');
  const other = status >= 500 ? 'unavailable' : status >= 400 ? 'refused' : 'answer';
  throw new ServiceAnswerError(
    withHint({ problem: AZURE_PROBLEMS.get(status) ?? other, said, retryAfterMs }, HINTS),
  );
}

/** What an error of a call means. */
export const explainArtifactSigning = (error: unknown): ServiceProblem =>
  error instanceof ServiceAnswerError ? error.problem : withHint(explainAzureError(error), HINTS);

/** The state of an operation as the service reports it. */
export type OperationState =
  | { readonly state: 'pending'; readonly id: string }
  | { readonly state: 'signed'; readonly signature: string; readonly signingCertificate: string };

const wrong = (said: string): ServiceAnswerError => new ServiceAnswerError({ problem: 'answer', said });

const PENDING = /^(?:in ?progress|running|not ?started|accepted)$/i;

/** A name that fits into a path: the answer chooses it, not the host or the account that a token is sent to. */
const ID = /^[A-Za-z0-9-]{1,100}$/;

const lastSegment = (location: string | undefined): string | undefined =>
  location?.split(/[?#]/, 1)[0]?.split('/').at(-1);

/** Reads the state of an operation. Throws a `ServiceAnswerError` if it failed, or is not one. */
export function readOperation({ body, operationLocation }: RestAnswer): OperationState {
  const { data } = operation.safeParse(body);
  if (!data) throw wrong('it is not the state of a signing operation');
  const { status, result: signed } = data;
  if (/^succeeded$/i.test(status)) {
    if (signed) return { state: 'signed', ...signed };
    throw wrong('it succeeded without a signature');
  }
  if (!PENDING.test(status))
    throw new ServiceAnswerError({
      problem: 'refused',
      said: [`the operation ended as ${quoted(status)}`, statedText(data)].filter(Boolean).join(', '),
    });
  const id = data.id ?? data.operationId ?? lastSegment(operationLocation) ?? '';
  if (!ID.test(id)) throw wrong('it does not name the operation');
  return { state: 'pending', id };
}
