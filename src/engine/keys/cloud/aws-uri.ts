import {
  afterScheme,
  badUri,
  looksLikeHost,
  readAttributes,
  takeHost,
  takePart,
  type UriKind,
} from './uri-parts.ts';

/** Where a key of AWS KMS is. */
export interface AwsKeyUri {
  /** `https://HOST[:PORT]`, if not the one of the region. */
  readonly endpoint: string | undefined;
  /** The ID, alias or ARN that the service is asked for. */
  readonly keyId: string;
  /** Left out if the environment has to name it. */
  readonly region: string | undefined;
}

const KIND: UriKind = {
  scheme: 'awskms',
  forms: 'awskms:///alias/NAME, awskms:///KEY-ID or awskms:///arn:aws:kms:REGION:ACCOUNT:key/KEY-ID',
};

const KEY_ID = /^(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$/;
const ALIAS = /^[A-Za-z0-9/_-]{1,250}$/;
const REGION = /^[a-z]{2,}(?:-[a-z]+)+-\d{1,2}$/;

/** `alias/NAME`, or an ID. */
function takeKey(key: string, name: string): void {
  if (key.startsWith('alias/'))
    takePart(
      KIND,
      'the name of the alias',
      key.slice('alias/'.length),
      ALIAS,
      'of letters, digits, /, _ and -',
    );
  else takePart(KIND, name, key, KEY_ID, 'a key ID (1234abcd-12ab-34cd-56ef-1234567890ab) or alias/NAME');
}

const takeRegion = (region: string | undefined): string =>
  takePart(KIND, 'the region', region, REGION, 'like eu-central-1');

/** `arn:PARTITION:kms:REGION:ACCOUNT:key/ID` or `…:alias/NAME`; returns its region. */
function takeArn(arn: string): string {
  const [, partition, service, region, account, resource = '', ...rest] = arn.split(':');
  takePart(KIND, 'the partition of the ARN', partition, /^aws(?:-[a-z]+)*$/, 'like aws or aws-us-gov');
  takePart(KIND, 'the service of the ARN', service, /^kms$/, 'kms');
  takeRegion(region);
  takePart(KIND, 'the account of the ARN', account, /^\d{12}$/, 'of 12 digits');
  if (rest.length > 0) throw badUri(KIND, 'the ARN has too many parts');
  if (resource.startsWith('key/'))
    takePart(KIND, 'the key ID of the ARN', resource.slice(4), KEY_ID, 'a key ID');
  else if (resource.startsWith('alias/')) takeKey(resource, 'the resource of the ARN');
  else throw badUri(KIND, 'the ARN does not end in key/KEY-ID or alias/NAME');
  return region ?? '';
}

/** Returns the region if the key names one. */
function checkKey(key: string): string | undefined {
  if (key.startsWith('arn:')) return takeArn(key);
  takeKey(key, 'the key');
  return undefined;
}

/** step's form: `awskms:key-id=KEY;region=REGION`. */
function readStepForm(rest: string): AwsKeyUri {
  const attributes = readAttributes(KIND, rest, ['key-id', 'region']);
  const keyId = attributes.get('key-id') ?? '';
  const named = checkKey(keyId);
  const region = attributes.has('region') ? takeRegion(attributes.get('region')) : named;
  if (named !== undefined && region !== named)
    throw badUri(KIND, `the region ${region ?? ''} is not that of the ARN, ${named}`);
  return { endpoint: undefined, keyId, region };
}

/** The host before a key. Two slashes instead of three make one of `alias`, of a region or of an ARN. */
function takeEndpoint(host: string): string {
  const instead = 'without a host, write /// before the key';
  if (host.startsWith('arn:')) throw badUri(KIND, `the host "${host}" is not HOST or HOST:PORT; ${instead}`);
  if (looksLikeHost(takeHost(KIND, host))) return host;
  throw badUri(KIND, `the host "${host}" has no dot and no port; ${instead}`);
}

/**
 * Reads the URI of a key in AWS KMS, in the forms of cosign and step. Throws `key-uri` (usage), which names the part that
 * is wrong.
 */
export function parseAwsUri(uri: string): AwsKeyUri {
  const rest = afterScheme(KIND, uri);
  if (!rest.startsWith('/')) return readStepForm(rest);
  const [, host = '', keyId = ''] = /^\/\/([^/]*)\/(.*)$/.exec(rest) ?? [];
  if (!rest.startsWith('//') || keyId === '') throw badUri(KIND, 'the key is missing');
  const endpoint = host === '' ? undefined : `https://${takeEndpoint(host)}`;
  return { endpoint, keyId, region: checkKey(keyId) };
}
