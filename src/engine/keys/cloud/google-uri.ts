import { afterScheme, badUri, takePart, type UriKind } from './uri-parts.ts';

/** Where a key of Google Cloud KMS is. */
export interface GoogleKeyUri {
  /** The resource name of the key version. */
  readonly name: string;
}

const KIND: UriKind = {
  scheme: 'gcpkms',
  forms: 'gcpkms://projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY/versions/VERSION',
};

const NAME = /^[A-Za-z0-9_-]{1,63}$/;
const A_NAME = 'a name of at most 63 letters, digits, _ and -';

/** The collections of a resource name, and what each holds. A project can be in a domain: `example.com:project`. */
const PARTS: readonly (readonly [collection: string, part: string, pattern: RegExp, rule: string])[] = [
  ['projects', 'the project', /^(?:[a-z0-9.-]{1,100}:)?[a-z0-9-]{1,63}$/, 'the ID of a project'],
  ['locations', 'the location', /^[a-z0-9-]{1,63}$/, 'like europe-west1 or global'],
  ['keyRings', 'the key ring', NAME, A_NAME],
  ['cryptoKeys', 'the key', NAME, A_NAME],
  ['versions', 'the key version', /^[1-9]\d{0,9}$/, 'a number'],
];

/**
 * Reads the URI of a key version in Google Cloud KMS, in the form of cosign; `versions` may be `cryptoKeyVersions`, as in
 * the service's own names. Throws `key-uri` (usage), which names the part that is wrong.
 */
export function parseGoogleUri(uri: string): GoogleKeyUri {
  const rest = afterScheme(KIND, uri);
  if (!rest.startsWith('//')) throw badUri(KIND, 'there is no // after the scheme');
  const words = rest.slice(2).replace('/cryptoKeyVersions/', '/versions/').split('/');
  const name = PARTS.map(([collection, part, pattern, rule], index) => {
    const [word, value] = words.slice(2 * index);
    if (word !== collection)
      throw badUri(
        KIND,
        word === undefined ? `${part} is missing` : `there is no ${collection}/ before ${part}`,
      );
    const is = takePart(KIND, part, value, pattern, rule);
    return `${collection === 'versions' ? 'cryptoKeyVersions' : collection}/${is}`;
  });
  if (words.length > 2 * PARTS.length) throw badUri(KIND, 'there is more after the key version');
  return { name: name.join('/') };
}
