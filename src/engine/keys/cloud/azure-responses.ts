import type { KeyClientOptions } from '@azure/keyvault-keys';

/** In bytes. A token with many claims has about ten kilobytes, all other answers less than four. */
const MAX_RESPONSE = 64 * 1024;

/** The name of the error for a longer one; the SDK keeps its message alone. */
export const TOO_LONG = `an answer of more than ${MAX_RESPONSE} bytes`;

/** The SDK reads answers of any length into memory; this bounds them. For the options of a client or of credentials. */
export const limitAzureResponses: NonNullable<KeyClientOptions['additionalPolicies']> = [
  {
    position: 'perRetry',
    policy: {
      name: 'limitResponses',
      sendRequest: (request, next) => {
        // An error thrown here ends the answer.
        request.onDownloadProgress = ({ loadedBytes }) => {
          if (loadedBytes > MAX_RESPONSE) throw new Error(TOO_LONG);
        };
        return next(request);
      },
    },
  },
];
