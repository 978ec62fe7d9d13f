import { afterScheme, badUri, isLoopback, takeHost, takePart, type UriKind } from '../cloud/uri-parts.ts';

/** A certificate profile of Azure Artifact Signing. */
export interface ArtifactSigningUri {
  /** The URL of the profile, without a slash at its end. */
  readonly url: string;
  readonly account: string;
  readonly profile: string;
}

const KIND: UriKind = {
  scheme: 'artifactsigning',
  forms: 'artifactsigning://REGION.codesigning.azure.net/ACCOUNT/PROFILE',
};

/** Where the service is; a token that is sent to another host would let that host sign. */
const SERVICE = /^[a-z0-9-]{1,63}\.codesigning\.azure\.net$/i;

/** The names that Azure Resource Manager permits. */
const ACCOUNT = /^(?=.{3,24}$)[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*$/;
const PROFILE = /^(?=.{5,100}$)[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*$/;

/** The origin of an endpoint. A server on this machine may do without TLS. */
function originOf(host: string): string {
  if (isLoopback(host)) return `http://${host}`;
  if (SERVICE.test(host)) return `https://${host.toLowerCase()}`;
  throw badUri(KIND, `the endpoint "${host}" is not a host below codesigning.azure.net`);
}

/**
 * Reads the URI of a certificate profile: `artifactsigning://ENDPOINT/ACCOUNT/PROFILE`. Throws `key-uri` (usage), which names
 * the part that is wrong.
 */
export function parseArtifactSigningUri(uri: string): ArtifactSigningUri {
  const rest = afterScheme(KIND, uri);
  if (!rest.startsWith('//')) throw badUri(KIND, 'there is no // before the endpoint');
  const [endpoint = '', accountName, profileName, ...more] = rest.slice(2).split('/');
  if (endpoint === '') throw badUri(KIND, 'the endpoint is missing');
  const origin = originOf(takeHost(KIND, endpoint));
  const account = takePart(
    KIND,
    'the account',
    accountName,
    ACCOUNT,
    'a name of 3 to 24 letters, digits and single -',
  );
  const profile = takePart(
    KIND,
    'the profile',
    profileName,
    PROFILE,
    'a name of 5 to 100 letters, digits and single -',
  );
  if (more.length > 0) throw badUri(KIND, 'there is more after the profile');
  return { url: `${origin}/codesigningaccounts/${account}/certificateprofiles/${profile}`, account, profile };
}
