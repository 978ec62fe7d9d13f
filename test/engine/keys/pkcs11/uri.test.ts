import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { describeKey } from '../../../../src/engine/keys/open.ts';
import { resolveKey } from '../../../../src/engine/keys/key-uri.ts';
import { parsePkcs11Uri } from '../../../../src/engine/keys/pkcs11/uri.ts';
import { encodeValue } from '../../../../src/engine/keys/pkcs11/write-uri.ts';
import { refuses } from '../refusal.ts';

const MODULE = 'module-path=/m.so';

describe('a PKCS#11 URI', () => {
  it('names token, key, module and PIN file', () => {
    const uri = parsePkcs11Uri(
      'pkcs11:token=release;serial=00A1;manufacturer=Some%20Vendor;model=M%2b;slot-id=4711;object=code%C3%A4;id=%00%ff;' +
        'type=private;library-version=2.6;library-manufacturer=V;library-description=D;slot-description=S;' +
        'slot-manufacturer=W?module-path=/usr/lib/m.so&pin-source=file:keys/pin&x-sessions=4&x-timeout=90&x-environment=A_B,c2',
    );
    assert.deepEqual(uri, {
      tokenSelection: {
        token: 'release',
        manufacturer: 'Some Vendor',
        serial: '00A1',
        model: 'M+',
        slotId: 4711,
        slotDescription: 'S',
        slotManufacturer: 'W',
      },
      library: { manufacturer: 'V', description: 'D', version: { major: 2, minor: 6 } },
      keySelection: { label: 'codeä', id: Buffer.from([0, 0xff]) },
      module: { path: '/usr/lib/m.so' },
      pinFile: 'keys/pin',
      sessions: 4,
      callMs: 90_000,
      environment: ['A_B', 'c2'],
    });
  });

  it('needs only a module: then there must be one token with one key', () => {
    const { module, sessions, callMs, pinFile } = parsePkcs11Uri('PKCS11:?module-name=softhsm2');
    assert.deepEqual(
      { module, sessions, callMs, pinFile },
      { module: { name: 'softhsm2' }, sessions: undefined, callMs: undefined, pinFile: undefined },
    );
  });

  const pinFiles = [
    ['file:keys/pin', 'keys/pin'],
    ['file:/etc/pin', '/etc/pin'],
    ['file:///etc/pin', '/etc/pin'],
    ['file://localhost/etc/pin', '/etc/pin'],
    ['file:a%20b%3fc', 'a b?c'],
  ] as const;
  for (const [source, path] of pinFiles)
    it(`reads pin-source=${source}`, () => {
      assert.equal(parsePkcs11Uri(`pkcs11:?${MODULE}&pin-source=${source}`).pinFile, path);
    });

  it('gets absolute paths, and else stays as it is written', () => {
    const uri = 'pkcs11:token=a%2fb;id=%01?x-sessions=2&module-path=lib/m.so&pin-source=file:keys/my%20pin';
    assert.equal(
      resolveKey(uri, (path) => `/site/${path}`),
      'pkcs11:token=a%2fb;id=%01?x-sessions=2&module-path=/site/lib/m.so&pin-source=file:/site/keys/my%20pin',
    );
  });

  it('is found out by the configuration, before anything is opened', async () => {
    await refuses('pkcs11-uri', () => describeKey({ key: 'pkcs11:tokn=a' }));
  });

  it('holds every value, once it is encoded', () => {
    for (const value of ['a b;c=d?e&f|g', 'ä€😀', '100%', '#"<>\\^`{}', "it's (a) [token]*!"]) {
      const uri = parsePkcs11Uri(`pkcs11:token=${encodeValue(value)}?module-path=/${encodeValue(value)}`);
      assert.equal(uri.tokenSelection.token, value);
      assert.deepEqual(uri.module, { path: `/${value}` });
    }
  });
});

/** Each wrong URI, and what its message must name. */
const WRONG: readonly (readonly [name: string, uri: string, message: RegExp])[] = [
  ['no attribute at all', 'pkcs11:', /no module is named/],
  ['no module', 'pkcs11:token=a', /no module is named/],
  ['two modules', `pkcs11:?${MODULE}&module-name=m`, /module-path and module-name are both given/],
  ['an unknown attribute of the path', `pkcs11:token=a;tokens=b?${MODULE}`, /: tokens is unknown/],
  ['an unknown attribute of the query', `pkcs11:?${MODULE}&modulepath=b`, /: modulepath is unknown/],
  ['another case', `pkcs11:Token=a?${MODULE}`, /: Token is unknown/],
  ['a name that every object has', `pkcs11:constructor=a?${MODULE}`, /: constructor is unknown/],
  ['a query attribute in the path', 'pkcs11:token=a;module-path=m.so', /module-path belongs behind the "\?"/],
  ['a path attribute in the query', `pkcs11:?${MODULE}&token=a`, /token belongs before the "\?"/],
  ['an attribute twice', `pkcs11:token=a;token=a?${MODULE}`, /token is given twice/],
  ['a query attribute twice', `pkcs11:?${MODULE}&${MODULE}`, /module-path is given twice/],
  ['no "="', `pkcs11:token?${MODULE}`, /: token: there must be a name, "=" and a value/],
  ['no name', `pkcs11:=a?${MODULE}`, /there must be a name/],
  ['an empty part', `pkcs11:token=a;;object=b?${MODULE}`, /nothing between two ";"/],
  ['a separator at the end', `pkcs11:token=a;?${MODULE}`, /nothing between two ";", or after the last/],
  ['an empty value', `pkcs11:token=?${MODULE}`, /token=: is empty/],
  ['a space', `pkcs11:token=my token?${MODULE}`, /token=my token: a space must be written as %20/],
  ['a letter outside of ASCII', `pkcs11:object=ä?${MODULE}`, /object=ä: "ä" must be written as %C3%A4/],
  ['a slash in the path', `pkcs11:token=a/b?${MODULE}`, /token=a\/b: "\/" must be written as %2F/],
  ['a fragment', `pkcs11:?${MODULE}#top`, /"#" must be written as %23/],
  ['"%" alone', `pkcs11:token=100%?${MODULE}`, /token=100%: two hexadecimal digits must follow each "%"/],
  ['"%" before other letters', `pkcs11:token=%zz?${MODULE}`, /two hexadecimal digits/],
  ['bytes that are no UTF-8', `pkcs11:token=%ff?${MODULE}`, /token=%ff: is not UTF-8/],
  [
    'the separator of the query in the path',
    `pkcs11:token=a&id=%01?${MODULE}`,
    /there must be ";" before id=, and not "&"/,
  ],
  [
    'the separator of the path in the query',
    `pkcs11:token=a?${MODULE};pin-source=file:pin`,
    /there must be "&" before pin-source=, and not ";"/,
  ],
  ['a control character', `pkcs11:token=a%00?${MODULE}`, /token=a%00: has a control character/],
  [
    'a label that no token can have',
    `pkcs11:token=${'a'.repeat(33)}?${MODULE}`,
    /token=a+: has more than 32 bytes/,
  ],
  [
    'a serial that no token can have',
    `pkcs11:serial=${'1'.repeat(17)}?${MODULE}`,
    /serial=1+: has more than 16 bytes/,
  ],
  ['an empty id', `pkcs11:id=?${MODULE}`, /id=: must have 1 to 256 bytes/],
  ['another type', `pkcs11:type=cert?${MODULE}`, /type=cert: must be private/],
  ['a slot that is no number', `pkcs11:slot-id=0x1?${MODULE}`, /slot-id=0x1: must be a decimal number/],
  [
    'a version that is none',
    `pkcs11:library-version=2.6.1?${MODULE}`,
    /library-version=2\.6\.1: must be a version/,
  ],
  [
    'a version beyond a byte',
    `pkcs11:library-version=256?${MODULE}`,
    /library-version=256: must be a version/,
  ],
  ['a path as a name', 'pkcs11:?module-name=/usr/lib/m.so', /module-name=\/usr\/lib\/m\.so: must be a name/],
  ['a name that leaves the folder', 'pkcs11:?module-name=..', /module-name=\.\.: must be a name/],
  [
    'a command for the PIN',
    `pkcs11:?${MODULE}&pin-source=|cat`,
    /pin-source=\|cat: must be a file: no command is run/,
  ],
  [
    'a PIN file without file:',
    `pkcs11:?${MODULE}&pin-source=/etc/pin`,
    /pin-source=\/etc\/pin: must be file: and/,
  ],
  ['a PIN file elsewhere', `pkcs11:?${MODULE}&pin-source=file://host/pin`, /must be a file of this machine/],
  ['no session', `pkcs11:?${MODULE}&x-sessions=0`, /x-sessions=0: must be a number from 1 to 64/],
  ['too many sessions', `pkcs11:?${MODULE}&x-sessions=65`, /x-sessions=65: must be a number from 1 to 64/],
  ['a unit', `pkcs11:?${MODULE}&x-timeout=30s`, /x-timeout=30s: must be a number from 1 to 600/],
  [
    'a variable that is none',
    `pkcs11:?${MODULE}&x-environment=A=1`,
    /x-environment=A=1: must be names of variables/,
  ],
  [
    "a variable with signpipe's secrets",
    `pkcs11:?${MODULE}&x-environment=SIGNPIPE_PASSPHRASE`,
    /x-environment=/,
  ],
  ['too long', `pkcs11:object=${'a'.repeat(5000)}?${MODULE}`, /more than 4096 characters/],
];

describe('a wrong PKCS#11 URI is refused, and the part that is wrong is named', () => {
  for (const [name, uri, message] of WRONG)
    it(`pkcs11-uri: ${name}`, async () => {
      const error = await refuses('pkcs11-uri', () => parsePkcs11Uri(uri));
      assert.match(error.message, message);
      assert.ok(error.message.length < 300, error.message);
      assert.ok(error.hint);
    });

  for (const uri of [
    `pkcs11:token=a?${MODULE}&pin-value=4711`,
    `pkcs11:token=a&pin-value=4711?${MODULE}`,
    `pkcs11:pin-value=4711?${MODULE}`,
    `pkcs11:token=a b?${MODULE}&PIN-VALUE=4711`,
  ])
    it(`pkcs11-uri: a PIN, which is not shown (${uri.replace('4711', '…')})`, async () => {
      const error = await refuses('pkcs11-uri', () => parsePkcs11Uri(uri));
      assert.match(error.message, /pin-value is not accepted/);
      assert.doesNotMatch(`${error.message} ${error.hint}`, /4711/);
    });

  for (const value of ['4711', 'data:,4711', '47%11', '4711;x', '47 11'])
    it(`pkcs11-uri: a PIN in place of its file, which is not shown (pin-source=${value.replace(/\d/g, '…')})`, async () => {
      const error = await refuses('pkcs11-uri', () =>
        parsePkcs11Uri(`pkcs11:?${MODULE}&pin-source=${value}`),
      );
      assert.match(error.message, /pin-source: /);
      assert.doesNotMatch(`${error.message} ${error.hint}`, /47.*11|data:/);
    });
});
