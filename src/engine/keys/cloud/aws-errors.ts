import { readRetryAfter } from '../../../lib/http/exchange.ts';
import { TOO_LONG } from './aws-responses.ts';
import {
  networkProblem,
  quoted,
  withHint,
  type Problem,
  type ServiceHints,
  type ServiceProblem,
} from './service-errors.ts';

/** By the name of the error; from the API reference of AWS KMS and its common errors. */
const PROBLEMS: ReadonlyMap<string, Problem> = new Map<string, Problem>([
  ['NotFoundException', 'missing'],
  ['InvalidArnException', 'missing'],
  ['DisabledException', 'disabled'],
  ['KMSInvalidStateException', 'disabled'],
  ['InvalidKeyUsageException', 'unsuitable'],
  ['UnsupportedOperationException', 'unsuitable'],
  ['AccessDeniedException', 'denied'],
  ['AccessDenied', 'denied'],
  ['NotAuthorized', 'denied'],
  ['OptInRequired', 'denied'],
  ['CredentialsProviderError', 'credentials'],
  ['TokenProviderError', 'credentials'],
  ['UnrecognizedClientException', 'credentials'],
  ['InvalidClientTokenId', 'credentials'],
  ['InvalidSignatureException', 'credentials'],
  ['SignatureDoesNotMatch', 'credentials'],
  ['IncompleteSignature', 'credentials'],
  ['MissingAuthenticationToken', 'credentials'],
  ['MissingAuthenticationTokenException', 'credentials'],
  ['ExpiredTokenException', 'credentials'],
  ['ExpiredToken', 'credentials'],
  ['RequestExpired', 'clock'],
  ['RequestTimeTooSkewed', 'clock'],
  ['ThrottlingException', 'throttled'],
  ['Throttling', 'throttled'],
  ['RequestLimitExceeded', 'throttled'],
  ['TooManyRequestsException', 'throttled'],
  ['LimitExceededException', 'throttled'],
  ['KeyUnavailableException', 'unavailable'],
  ['DependencyTimeoutException', 'unavailable'],
  ['KMSInternalException', 'unavailable'],
  ['InternalFailure', 'unavailable'],
  ['ServiceUnavailable', 'unavailable'],
  ['ServiceUnavailableException', 'unavailable'],
  ['TimeoutError', 'timeout'],
  [TOO_LONG, 'answer'],
]);

const HINTS: ServiceHints = {
  credentials:
    'set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role; renew them if they have expired',
  denied:
    'permit kms:GetPublicKey, kms:DescribeKey and kms:Sign on this key, in its key policy or the policy of the account',
  missing: 'check the key, its account and its region: signing.key, AWS_REGION',
  region: 'set AWS_REGION, or name the key by its ARN, which has the region',
};

/** What the SDK adds to errors; read without trust in its types, since any version of the SDK may be installed. */
interface SdkError extends Error {
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly $response?: { readonly headers?: Record<string, string | undefined> };
}

function problemOf(error: SdkError): Problem {
  if (/^Region (?:is missing|not accepted)/.test(error.message)) return 'region';
  // AWS reports a clock that is wrong as a wrong signature: `Signature expired: …` or `Signature not yet current: …`.
  if (/^Signature (?:expired|not yet current)/.test(error.message)) return 'clock';
  const known = PROBLEMS.get(error.name);
  // The credentials of a machine or a role come over the network too.
  const network = networkProblem(error);
  if (network !== undefined && (known === undefined || known === 'credentials')) return network;
  if (known !== undefined) return known;
  const status = error.$metadata?.httpStatusCode ?? 0;
  if (status === 429) return 'throttled';
  if (status >= 500) return 'unavailable';
  return error.name === 'SyntaxError' ? 'answer' : 'refused';
}

/** What an error of the SDK means. */
export function explainAwsError(error: unknown): ServiceProblem {
  if (!(error instanceof Error)) return { problem: 'refused' };
  const { $response: response }: SdkError = error;
  const said = [error.name, quoted(error.message)]
    .filter((text) => text !== '' && text !== 'Error')
    .join(': ');
  const retryAfterMs = readRetryAfter(response?.headers?.['retry-after'], Date.now());
  return withHint({ problem: problemOf(error), said, retryAfterMs }, HINTS);
}

export const isAccessDenied = (error: unknown): boolean =>
  error instanceof Error && PROBLEMS.get(error.name) === 'denied';
