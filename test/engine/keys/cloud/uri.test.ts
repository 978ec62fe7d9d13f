import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describeKey } from '../../../../src/engine/keys/open.ts';
import { parseAwsUri } from '../../../../src/engine/keys/cloud/aws-uri.ts';
import { parseAzureUri } from '../../../../src/engine/keys/cloud/azure-uri.ts';
import { googleEndpoint } from '../../../../src/engine/keys/cloud/google-endpoint.ts';
import { parseGoogleUri } from '../../../../src/engine/keys/cloud/google-uri.ts';
import { refuses } from '../refusal.ts';

const ID = '1234abcd-12ab-34cd-56ef-1234567890ab';
const ARN = 'arn:aws:kms:us-east-2:111122223333';
const GOOGLE = 'gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k';
const VERSION = '0123456789abcdef0123456789abcdef';

describe('a URI of AWS KMS', () => {
  const good: Record<string, [endpoint: string | undefined, keyId: string, region: string | undefined]> = {
    [`awskms:///${ID}`]: [undefined, ID, undefined],
    [`awskms:///mrk-${'0'.repeat(32)}`]: [undefined, `mrk-${'0'.repeat(32)}`, undefined],
    'awskms:///alias/team/codesign': [undefined, 'alias/team/codesign', undefined],
    [`awskms:///${ARN}:key/${ID}`]: [undefined, `${ARN}:key/${ID}`, 'us-east-2'],
    [`awskms:///${ARN}:alias/codesign`]: [undefined, `${ARN}:alias/codesign`, 'us-east-2'],
    [`awskms:///arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/${ID}`]: [
      undefined,
      `arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/${ID}`,
      'us-gov-west-1',
    ],
    [`awskms://localhost:4566/${ID}`]: ['https://localhost:4566', ID, undefined],
    [`AWSKMS://[::1]:4566/alias/a`]: ['https://[::1]:4566', 'alias/a', undefined],
    [`awskms:key-id=${ID}`]: [undefined, ID, undefined],
    [`awskms:key-id=alias/a;region=eu-central-1`]: [undefined, 'alias/a', 'eu-central-1'],
  };
  for (const [uri, [endpoint, keyId, region]] of Object.entries(good))
    it(`names a key: ${uri}`, () => assert.deepEqual(parseAwsUri(uri), { endpoint, keyId, region }));

  const bad: Record<string, RegExp> = {
    'awskms:': /there is neither \/\/ nor NAME=VALUE after the scheme/,
    'awskms:alias/a': /there is neither \/\/ nor NAME=VALUE after the scheme/,
    [`awskms:${ARN}:key/${ID}`]: /there is neither \/\/ nor NAME=VALUE after the scheme/,
    'awskms:key-id=alias/a;': /there is a ";" after the last attribute/,
    'awskms://alias/a': /the host "alias" has no dot and no port; without a host, write \/\/\//,
    [`awskms://eu-central-1/${ID}`]: /the host "eu-central-1" has no dot and no port/,
    [`awskms://${ARN}:key/${ID}`]:
      /the host "arn:aws:kms:.*" is not HOST or HOST:PORT; without a host, write \/\/\//,
    [`awskms://host.example:0/${ID}`]: /the port of the host "host.example:0" is not valid/,
    [`awskms://1.2.3.4.5/${ID}`]: /the host "1.2.3.4.5" is not valid/,
    'awskms://': /the key is missing/,
    'awskms:///': /the key is missing/,
    'awskms:/alias/a': /the key is missing/,
    [`awskms://${ID}`]: /the key is missing/,
    'awskms:///codesign': /the key "codesign" is not a key ID/,
    [`awskms:///${ID.toUpperCase()}`]: /the key ".*" is not a key ID/,
    'awskms:///alias/': /the name of the alias is missing/,
    'awskms:///alias/a b': /the URI has the character " "/,
    'awskms:///alias/a%20b': /the URI has the character "%"/,
    'awskms:///alias/a?region=x': /the name of the alias "a\?region=x" is not of letters/,
    'awskms:///alias/a#b': /the URI has the character "#"/,
    'awskms:///alias/\u202ea': /the URI has the character "\\u\{202e\}"/,
    'awskms:///arn:aws:s3:us-east-2:111122223333:key/a': /the service of the ARN "s3" is not kms/,
    'awskms:///arn:AWS:kms:us-east-2:111122223333:key/a': /the partition of the ARN "AWS"/,
    'awskms:///arn:aws:kms:useast2:111122223333:key/a': /the region "useast2" is not like eu-central-1/,
    'awskms:///arn:aws:kms::111122223333:key/a': /the region is missing/,
    'awskms:///arn:aws:kms:us-east-2:123:key/a': /the account of the ARN "123" is not of 12 digits/,
    [`awskms:///${ARN}:key/a`]: /the key ID of the ARN "a" is not a key ID/,
    [`awskms:///${ARN}:${ID}`]: /the ARN does not end in key\/KEY-ID or alias\/NAME/,
    [`awskms:///${ARN}:key/${ID}:x`]: /the ARN has too many parts/,
    [`awskms://me:pw@host/${ID}`]: /the host has a user or a password in front of it/,
    [`awskms://ho_st/${ID}`]: /the host "ho_st" is not HOST or HOST:PORT/,
    [`awskms://host:99999/${ID}`]: /the port of the host "host:99999" is not valid/,
    'awskms:region=eu-central-1': /the key is missing/,
    [`awskms:key-id=${ID};key-id=${ID}`]: /the attribute key-id is there twice/,
    [`awskms:key-id=${ID};profile=a`]: /the attribute "profile" is not one of/,
    [`awskms:key-id=${ARN}:key/${ID};region=eu-west-1`]:
      /the region eu-west-1 is not that of the ARN, us-east-2/,
    [`awskms:///alias/${'a'.repeat(2000)}`]: /the URI has more than 1000 characters/,
  };
  for (const [uri, message] of Object.entries(bad))
    it(`key-uri: ${uri.slice(0, 90)}`, async () => {
      const error = await refuses('key-uri', () => parseAwsUri(uri));
      assert.match(error.message, message);
      assert.match(error.hint ?? '', /awskms:\/\/\/alias\/NAME/);
      assert.doesNotMatch(error.message, /pw@/);
    });
});

describe('a URI of Google Cloud KMS', () => {
  const name = 'projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/12';
  for (const uri of [`${GOOGLE}/versions/12`, `${GOOGLE}/cryptoKeyVersions/12`])
    it(`names a key version: ${uri}`, () => assert.deepEqual(parseGoogleUri(uri), { name }));

  it('may have a project in a domain', () => {
    assert.match(
      parseGoogleUri(GOOGLE.replace('/p/', '/example.com:p/') + '/versions/1').name,
      /^projects\/example\.com:p\//,
    );
  });

  const bad: Record<string, RegExp> = {
    'gcpkms:': /there is no \/\/ after the scheme/,
    'gcpkms://': /there is no projects\/ before the project/,
    'gcpkms://projects': /the project is missing/,
    'gcpkms://projects/P_1/locations/l': /the project "P_1" is not the ID of a project/,
    'gcpkms://projects/p': /the location is missing/,
    'gcpkms://projects/p/location/l': /there is no locations\/ before the location/,
    'gcpkms://projects/p/locations/L/keyRings/r': /the location "L" is not like europe-west1/,
    [GOOGLE]: /the key version is missing/,
    [`${GOOGLE}/versions/`]: /the key version is missing/,
    [`${GOOGLE}/versions/latest`]: /the key version "latest" is not a number/,
    [`${GOOGLE}/versions/0`]: /the key version "0" is not a number/,
    [`${GOOGLE}/versions/1/x`]: /there is more after the key version/,
    [GOOGLE.replace('/k', '/k.k')]: /there is no keyRings|the key "k.k" is not a name|the key ring/,
  };
  for (const [uri, message] of Object.entries(bad))
    it(`key-uri: ${uri}`, async () => {
      assert.match((await refuses('key-uri', () => parseGoogleUri(uri))).message, message);
    });
});

describe('the endpoint of Google Cloud KMS', () => {
  const from = (endpoint: string) => googleEndpoint({ CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS: endpoint });

  it('is the usual one unless the environment names another', () => {
    assert.deepEqual(googleEndpoint({}), {});
    assert.deepEqual(from(''), {});
    assert.deepEqual(from('https://kms.example:8443/'), { apiEndpoint: 'kms.example', port: 8443 });
    assert.deepEqual(from('https://kms.example'), { apiEndpoint: 'kms.example', port: 443 });
  });

  for (const endpoint of [
    'http://127.0.0.1/',
    'kms',
    'https://user@host/',
    'https://host/path',
    'https://host/?a',
  ])
    it(`key-service-endpoint: ${endpoint}`, async () => {
      await refuses('key-service-endpoint', () => from(endpoint));
    });
});

describe('a URI of Azure Key Vault', () => {
  const host = 'release.vault.azure.net';
  const good: Record<string, ReturnType<typeof parseAzureUri>> = {
    [`azurekms://${host}/codesign`]: { host, name: 'codesign', version: undefined },
    [`azurekms://${host}/codesign/${VERSION}`]: { host, name: 'codesign', version: VERSION },
    [`azurekms:name=codesign;vault=release?version=${VERSION}`]: { host, name: 'codesign', version: VERSION },
    [`azurekms://${host}/keys/${VERSION}`]: { host, name: 'keys', version: VERSION },
    'azurekms://localhost:8443/codesign': { host: 'localhost:8443', name: 'codesign', version: undefined },
  };
  for (const [uri, expected] of Object.entries(good))
    it(`names a key: ${uri}`, () => assert.deepEqual(parseAzureUri(uri), expected));

  const bad: Record<string, RegExp> = {
    'azurekms://': /the vault is missing/,
    'azurekms://release/codesign': /the vault "release" is not a host: add \.vault\.azure\.net/,
    [`azurekms://${host}`]: /the key is missing/,
    [`azurekms://${host}/code_sign`]: /the key "code_sign" is not a name/,
    [`azurekms://${host}/keys/codesign/${VERSION}`]: /there is keys\/ before the key: leave it out/,
    [`azurekms://${host}/keys/codesign`]: /there is keys\/ before the key: leave it out/,
    [`azurekms://https://${host}/keys/codesign`]: /the host "https:" is not HOST or HOST:PORT/,
    [`azurekms:https://${host}/keys/codesign`]: /there is neither \/\/ nor NAME=VALUE after the scheme/,
    [`azurekms:name=codesign;vault=${host}`]:
      /the vault ".*" is not the name of a vault, without \.vault\.azure\.net/,
    'azurekms:name=codesign;;vault=release': /an attribute is empty/,
    [`azurekms://${host}/codesign/`]: /the key version is missing/,
    [`azurekms://${host}/codesign/1`]: /the key version "1" is not of 32/,
    [`azurekms://${host}/codesign/${VERSION}/x`]: /there is more after the key version/,
    [`azurekms://token@${host}/codesign`]: /the host has a user or a password/,
    'azurekms:name=codesign': /the vault is missing/,
    'azurekms:name=codesign;vault=a.b': /the vault "a.b" is not the name of a vault/,
    'azurekms:name=codesign;vault=release;hsm=true': /the attribute "hsm" is not one of/,
  };
  for (const [uri, message] of Object.entries(bad))
    it(`key-uri: ${uri}`, async () => {
      assert.match((await refuses('key-uri', () => parseAzureUri(uri))).message, message);
    });
});

describe('the configuration of a key in a service', () => {
  for (const key of [
    `awskms:///${ID}`,
    `${GOOGLE}/versions/1`,
    'azurekms://release.vault.azure.net/codesign',
  ]) {
    it(`key-missing: no certificate for ${key}`, async () => {
      await refuses('key-missing', () => describeKey({ key }));
    });

    it(`key-uri: the URI is checked before the key is used: ${key}`, async () => {
      await refuses('key-uri', () => describeKey({ key: `${key}!`, certificate: 'chain.pem' }));
    });
  }
});
