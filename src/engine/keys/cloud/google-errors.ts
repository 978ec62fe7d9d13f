import {
  networkProblem,
  quoted,
  withHint,
  type Problem,
  type ServiceHints,
  type ServiceProblem,
} from './service-errors.ts';

/** By the number of the gRPC status (google.rpc.Code). */
const PROBLEMS: ReadonlyMap<number, Problem> = new Map<number, Problem>([
  [4, 'timeout'],
  [5, 'missing'],
  [7, 'denied'],
  [8, 'throttled'],
  [9, 'disabled'],
  [10, 'unavailable'],
  [13, 'unavailable'],
  [14, 'unavailable'],
  [16, 'credentials'],
]);

const HINTS: ServiceHints = {
  credentials:
    'set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account or a federation, or give the machine a service account',
  denied: 'give the account the role roles/cloudkms.signerVerifier on this key',
};

/** What the SDK adds to errors; read without trust in its types, since any version of the SDK may be installed. */
interface SdkError extends Error {
  readonly code?: unknown;
  readonly details?: unknown;
  readonly statusDetails?: unknown;
}

/** The errors of google-auth-library, which have no status of their own. */
const NO_CREDENTIALS =
  /default credentials|metadata from plugin|invalid_grant|invalid_client|unauthorized_client|credential|private key|PEM routines|DECODER routines/i;

function problemOf(error: SdkError): Problem {
  const { code, message } = error;
  const details = typeof error.details === 'string' ? error.details : '';
  const known = typeof code === 'number' ? PROBLEMS.get(code) : undefined;
  if (known !== undefined && known !== 'unavailable') return known;
  const network = networkProblem(error);
  if (network !== undefined) return network;
  if (NO_CREDENTIALS.test(`${message} ${details}`)) return 'credentials';
  return known ?? 'refused';
}

/** The pause that a service asks for, in milliseconds: google.rpc.RetryInfo. */
function retryAfter({ statusDetails }: SdkError): number | undefined {
  if (!Array.isArray(statusDetails)) return undefined;
  for (const detail of statusDetails as readonly { retryDelay?: { seconds?: unknown; nanos?: unknown } }[]) {
    const { seconds, nanos } = detail.retryDelay ?? {};
    const ms = Number(seconds ?? 0) * 1000 + Number(nanos ?? 0) / 1e6;
    if (detail.retryDelay && Number.isFinite(ms) && ms >= 0) return Math.ceil(ms);
  }
  return undefined;
}

/** What an error of the SDK means. */
export function explainGoogleError(error: unknown): ServiceProblem {
  if (!(error instanceof Error)) return { problem: 'refused' };
  const sdkError: SdkError = error;
  const { details } = sdkError;
  const said = quoted(details === undefined || details === '' ? error.message : details);
  return withHint({ problem: problemOf(sdkError), said, retryAfterMs: retryAfter(sdkError) }, HINTS);
}
