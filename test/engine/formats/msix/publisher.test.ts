/** What Windows derives from names: the text of a publisher, and the name of a package. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { oid, seq, set, utf8 } from '../../../../src/lib/asn1/encode-der.ts';
import { packageFullName, publisherId, readIdentity } from '../../../../src/engine/formats/msix/manifest.ts';
import { windowsNameText } from '../../../../src/lib/x509/windows-name.ts';
import { manifestBy } from '../../../fixtures/msix.ts';

const C = '2.5.4.6';
const O = '2.5.4.10';
const CN = '2.5.4.3';

type Attribute = readonly [type: string, value: string];

const subject = (...relatives: (Attribute | Attribute[])[]): string =>
  windowsNameText(
    seq(
      ...relatives.map((each) => {
        const attributes = (Array.isArray(each[0]) ? each : [each]) as Attribute[];
        return set(...attributes.map(([type, value]) => seq(oid(type), utf8(value))));
      }),
    ),
    'it',
  );

describe('the publisher of a certificate', () => {
  it('is its subject from last to first, as certificates show it', () => {
    assert.equal(
      subject([C, 'DE'], ['2.5.4.8', 'Bavaria'], ['2.5.4.7', 'Munich'], [O, 'Foo'], [CN, 'Foo Release']),
      'CN=Foo Release, O=Foo, L=Munich, S=Bavaria, C=DE',
    );
  });

  it('has the names of types that Windows knows, and OIDs for others', () => {
    assert.equal(
      subject(
        ['1.3.6.1.4.1.311.60.2.1.3', 'US'],
        ['2.5.4.15', 'Private Organization'],
        ['2.5.4.5', '42'],
        ['2.5.4.9', 'Main St'],
        ['2.5.4.17', '123'],
        ['1.2.840.113549.1.9.1', 'a@b.c'],
      ),
      'E=a@b.c, PostalCode=123, STREET=Main St, SERIALNUMBER=42, OID.2.5.4.15=Private Organization, OID.1.3.6.1.4.1.311.60.2.1.3=US',
    );
  });

  it('has values in quotation marks if they need them', () => {
    const values: [value: string, text: string][] = [
      ['Foo, Inc.', '"Foo, Inc."'],
      ['A+B', '"A+B"'],
      ['A "B"', '"A ""B"""'],
      [' A', '" A"'],
      ['A ', '"A "'],
      ['A;B', '"A;B"'],
      ['#A', '"#A"'],
      ['', '""'],
      ["A'B \\ & C.", "A'B \\ & C."],
    ];
    for (const [value, text] of values) assert.equal(subject([O, value]), `O=${text}`);
  });

  it('joins the attributes of one relative name', () => {
    assert.match(
      subject([
        [CN, 'A'],
        [O, 'B'],
      ]),
      /^(?:CN=A \+ O=B|O=B \+ CN=A)$/,
    );
  });

  // From the package that Microsoft's signtool signed for psign's tests, and from Microsoft's own packages.
  it('has an id of 13 characters', () => {
    assert.equal(publisherId('CN=Test Code Signing Certificate'), '16kgxjeygca84');
    assert.equal(
      publisherId('CN=Microsoft Corporation, O=Microsoft Corporation, L=Redmond, S=Washington, C=US'),
      '8wekyb3d8bbwe',
    );
  });

  it('is part of the full name of a package', () => {
    const identity = readIdentity(
      Buffer.from(manifestBy('CN=Test Code Signing Certificate')),
      'package',
      'it',
    );
    assert.equal(packageFullName(identity), 'Example.App_1.2.3.0_x64__16kgxjeygca84');
    assert.equal(
      packageFullName({ ...identity, architecture: 'neutral', resourceId: 'split.scale-100' }),
      'Example.App_1.2.3.0_neutral_split.scale-100_16kgxjeygca84',
    );
  });
});
