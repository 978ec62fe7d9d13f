import { usage } from '../../../lib/errors.ts';

/** gcloud's variable for another endpoint: one of a region, or a private one. */
const ENDPOINT = 'CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS';

/** Host and port of the endpoint that the environment names. Throws `key-service-endpoint` (usage). */
export function googleEndpoint(env: NodeJS.ProcessEnv): { apiEndpoint?: string; port?: number } {
  const value = env[ENDPOINT];
  if (value === undefined || value === '') return {};
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url?.protocol === 'https:' && url.username === '' && url.pathname === '/' && url.search === '')
    return { apiEndpoint: url.hostname, port: Number(url.port || 443) };
  throw usage('key-service-endpoint', `${ENDPOINT}: is not of the form https://HOST/ or https://HOST:PORT/`);
}
