import type { TokenCredential } from '@azure/identity';
import { limitAzureResponses } from './azure-responses.ts';
import { isLoopback } from './uri-parts.ts';

/** Microsoft does not know the authority of an emulator on this machine. */
const authorityIsLocal = (env: NodeJS.ProcessEnv): boolean => {
  const authority = env['AZURE_AUTHORITY_HOST'] ?? '';
  return URL.canParse(authority) && isLoopback(new URL(authority).host);
};

/**
 * The credentials that the environment or the machine has (`DefaultAzureCredential`). The SDK's own retries are off:
 * `ServiceCalls` repeats.
 */
export const createAzureCredential = (identity: typeof import('@azure/identity')): TokenCredential =>
  new identity.DefaultAzureCredential({
    retryOptions: { maxRetries: 0 },
    additionalPolicies: limitAzureResponses,
    disableInstanceDiscovery: authorityIsLocal(process.env),
  });
