/** Catalogs: the bytes that are written and signed, and lists that are refused. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { buildList } from '../../../../src/engine/formats/catalog/build-list.ts';
import { buildUnsignedCatalog, CatalogFile } from '../../../../src/engine/formats/catalog/catalog-file.ts';
import { textOf, type TrustList } from '../../../../src/engine/formats/catalog/trust-list.ts';
import { signProgram } from '../../../../src/engine/authenticode/sign.ts';
import {
  bmp,
  explicit,
  integer,
  NULL,
  octets,
  oid,
  seq,
  set,
  time,
  tlv,
} from '../../../../src/lib/asn1/encode-der.ts';
import { children, parseDer } from '../../../../src/lib/asn1/der.ts';
import { OID } from '../../../../src/lib/asn1/oids.ts';
import { SignpipeError } from '../../../../src/lib/errors.ts';
import { createTestPki, testSigningKey } from '../../../../src/sandbox/certificates.ts';
import { bytesOf } from '../../authenticode/tools.ts';
import { itKeepsTheContract } from '../contract.ts';
import { judge, openScript as open } from '../script/scripts.ts';
import { catalogOf, listed, TIME } from './catalogs.ts';

itKeepsTheContract({
  format: 'catalog',
  fileName: 'drivers.cat',
  unsigned: () => catalogOf('a', 'b'),
  another: () => catalogOf('a', 'c'),
  differs: 'strip-body-differs',
  appends: false,
  // ContentInfo and SignedData have headers of 4 bytes each here.
  unnoticed: () => [
    { start: 25, end: 26, why: 'the version of SignedData may be 1 or 3, and nothing depends on it' },
  ],
});

const listOf = async (bytes: Buffer): Promise<TrustList> => {
  const file = await open('a.cat', bytes);
  return file instanceof CatalogFile ? file.list : assert.fail();
};

describe('the list of a catalog', () => {
  it('is byte for byte what inf2cat writes for the same digests, attributes, time and list id', () => {
    const about = (file: string) => [
      { name: 'OSAttr', value: '2:10.0' },
      { name: 'File', value: file },
    ];
    const list = buildList(
      [
        {
          kind: 'flat',
          sha256: Buffer.from('5002ea3b8b5870ca2b85781a43df301505adf68f7e1e09f2a15fe051d0ae03e9', 'hex'),
          sha1: Buffer.from('5219d563e4c5fdeeff0324db471b920331e3e03f', 'hex'),
          attributes: about('sample.inf'),
        },
        {
          kind: 'pe',
          sha256: Buffer.from('a82d7e4f091c44ec75d97746b3461c8ea9151e2313f8e9a4330432ee5f25b2ae', 'hex'),
          sha1: Buffer.from('e9bdfb63bdf687b8d3bf144033fcb09d7a393563', 'hex'),
          attributes: about('member.sys'),
        },
      ],
      {
        attributes: [
          { name: 'OS', value: '_v100_X64' },
          { name: 'HWID1', value: 'root\\psigncat' },
        ],
        time: new Date('2026-05-14T13:30:05Z'),
        listId: Buffer.from('14d9ff620d12874c9ac543f329db42bd', 'hex'),
      },
    );
    // The messageDigest of signtool's signature of that catalog.
    assert.equal(
      createHash('sha256').update(parseDer(list, 'list').body).digest('hex'),
      '38d62a57169ae85411f1a6d68f552e9716cff5832a30d9752c0ebbe686b50ae5',
    );
  });

  it('is the same for the same files in any order, and has another id for others', async () => {
    assert.deepEqual(catalogOf('a', 'b'), catalogOf('b', 'a'));
    const [one, other] = [await listOf(catalogOf('a')), await listOf(catalogOf('b'))];
    assert.equal(one.listId?.length, 16);
    assert.notDeepEqual(one.listId, other.listId);
    assert.deepEqual(one.time, TIME);
  });

  it('is read back', async () => {
    const { version, entries, attributes } = await listOf(catalogOf('a', 'b'));
    assert.deepEqual([version, attributes.length], [2, 0]);
    assert.deepEqual(
      entries.map(({ identifier, data }) => [identifier.equals(data?.digest ?? Buffer.alloc(0)), data?.type]),
      [
        [true, OID.spcCabData],
        [true, OID.spcCabData],
      ],
    );
    const [first] = entries[0]?.attributes ?? [];
    assert.equal(first && textOf(first), 'b.txt');
  });

  it('is read in version 1, in which identifiers are text', async () => {
    const list = trustList({ member: OID.catalogListMember, entry: octets(Buffer.from('CA97', 'utf16le')) });
    assert.equal((await listOf(buildUnsignedCatalog(list))).version, 1);
  });

  it('may have more entries than other structures may have values', async () => {
    const many = Array.from({ length: 10_500 }, (_, i) => listed(String(i), { attributes: [] }));
    const bytes = buildUnsignedCatalog(buildList(many, { time: TIME }));
    assert.equal((await listOf(bytes)).entries.length, 10_500);
  });
});

describe('signing a catalog again', () => {
  it('gives what signing it for the first time does', async () => {
    const key = testSigningKey((await createTestPki({ key: 'rsa2048', intermediate: false })).codeSigning);
    const sign = async (bytes: Buffer): Promise<Buffer> => {
      const file = await open('a.cat', bytes);
      return bytesOf((await signProgram(file, { key, timestamper: null, existing: 'replace' })).content);
    };
    const signed = await sign(catalogOf('a'));
    assert.deepEqual(await sign(signed), signed);
  });

  it('not-its-signature: a signature of another catalog is not attached', async () => {
    const key = testSigningKey((await createTestPki({ key: 'p256', intermediate: false })).codeSigning);
    const other = await signProgram(await open('b.cat', catalogOf('b')), { key, timestamper: null });
    await assert.rejects((await open('a.cat', catalogOf('a'))).embed(other.signature), {
      code: 'not-its-signature',
    });
  });
});

interface Parts {
  readonly before?: readonly Buffer[];
  readonly usage?: Buffer;
  readonly listId?: Buffer;
  readonly time?: Buffer;
  readonly member?: string;
  /** What an entry begins with, and its attributes. */
  readonly entry?: Buffer;
  readonly attributes?: Buffer;
  readonly after?: readonly Buffer[];
}

/** A list with one entry, in which some parts are others. */
function trustList(parts: Parts): Buffer {
  const {
    before = [],
    after = [],
    usage = seq(oid(OID.catalogList)),
    member = OID.catalogListMember2,
  } = parts;
  const { entry = octets(Buffer.alloc(32)), attributes = set() } = parts;
  const algorithm = seq(oid(member), NULL);
  const entries = seq(seq(entry, attributes));
  return seq(
    ...before,
    usage,
    parts.listId ?? octets(Buffer.alloc(16)),
    parts.time ?? time(TIME),
    algorithm,
    entries,
    ...after,
  );
}

const attribute = (type: string, ...values: Buffer[]): Buffer => seq(oid(type), set(...values));
const digestOf = (value: Buffer, digest: Buffer, hash: string = OID.sha256): Buffer =>
  seq(seq(oid(OID.spcCabData), value), seq(seq(oid(hash), NULL), octets(digest)));
const LINK = Buffer.from('a2028000', 'hex');
const nameValue = (...parts: Buffer[]): Buffer => seq(...parts);
const extension = (value: Buffer): Buffer => explicit(0, seq(seq(oid(OID.catalogNameValue), octets(value))));
const withAttributes = (...attributes: Buffer[]): Buffer => trustList({ attributes: set(...attributes) });

const REFUSED: [code: string, what: string, list: Buffer][] = [
  [
    'catalog-other-list',
    'a list of trusted certificates',
    trustList({ usage: seq(oid('1.3.6.1.4.1.311.10.3.9')) }),
  ],
  [
    'catalog-other-list',
    'a list for two uses',
    trustList({ usage: seq(oid(OID.catalogList), oid('1.3.6.1.4.1.311.10.3.9')) }),
  ],
  ['catalog-other-list', 'a list for no use', trustList({ usage: seq() })],
  ['catalog-malformed', 'another version', trustList({ before: [integer(1)] })],
  ['catalog-malformed', 'entries of another version', trustList({ member: '1.3.6.1.4.1.311.12.1.4' })],
  [
    'catalog-malformed',
    'two digests in an entry',
    withAttributes(
      attribute(OID.spcIndirectData, digestOf(LINK, Buffer.alloc(32)), digestOf(LINK, Buffer.alloc(32, 1))),
    ),
  ],
  [
    'catalog-malformed',
    'two attributes with a digest',
    withAttributes(
      attribute(OID.spcIndirectData, digestOf(LINK, Buffer.alloc(32))),
      attribute(OID.spcIndirectData, digestOf(LINK, Buffer.alloc(32, 1))),
    ),
  ],
  ['catalog-malformed', 'an attribute without a value', withAttributes(attribute(OID.catalogNameValue))],
  [
    'authenticode-digest-length',
    'a short digest',
    withAttributes(attribute(OID.spcIndirectData, digestOf(LINK, Buffer.alloc(31)))),
  ],
  [
    'cms-digest-unknown',
    'an unknown digest',
    withAttributes(attribute(OID.spcIndirectData, digestOf(LINK, Buffer.alloc(32), '1.2.3'))),
  ],
  [
    'der-malformed',
    'a digest without a kind',
    withAttributes(attribute(OID.spcIndirectData, seq(seq(oid(OID.sha256), NULL), octets(Buffer.alloc(32))))),
  ],
  [
    'der-malformed',
    'a name that is no BMPString',
    withAttributes(
      attribute(
        OID.catalogNameValue,
        nameValue(octets(Buffer.from('ab')), integer(1), octets(Buffer.alloc(2))),
      ),
    ),
  ],
  [
    'der-malformed',
    'a name of half a character',
    withAttributes(
      attribute(
        OID.catalogNameValue,
        nameValue(tlv(0x1e, Buffer.from('abc')), integer(1), octets(Buffer.alloc(2))),
      ),
    ),
  ],
  [
    'der-malformed',
    'negative flags',
    withAttributes(
      attribute(OID.catalogNameValue, nameValue(bmp('a'), integer(-1), octets(Buffer.alloc(2)))),
    ),
  ],
  [
    'der-malformed',
    'a name without a value',
    withAttributes(attribute(OID.catalogNameValue, nameValue(bmp('a'), integer(1)))),
  ],
  [
    'der-malformed',
    'more than a name and a value',
    withAttributes(
      attribute(OID.catalogNameValue, nameValue(bmp('a'), integer(1), octets(Buffer.alloc(2)), NULL)),
    ),
  ],
  ['der-malformed', 'an attribute that is a text', withAttributes(octets(Buffer.from('ab')))],
  ['der-malformed', 'attributes that are a SEQUENCE', trustList({ attributes: seq() })],
  ['der-malformed', 'an entry with a third part', trustList({ attributes: Buffer.concat([set(), NULL]) })],
  ['der-malformed', 'an identifier that is an integer', trustList({ entry: integer(1) })],
  ['der-malformed', 'no time', trustList({ time: Buffer.alloc(0) })],
  [
    'der-malformed',
    'a time that does not exist',
    trustList({ time: tlv(0x17, Buffer.from('260231093000Z')) }),
  ],
  ['der-malformed', 'three times', trustList({ time: Buffer.concat([time(TIME), time(TIME), time(TIME)]) })],
  ['der-malformed', 'a list id that is a text', trustList({ listId: bmp('a') })],
  ['der-malformed', 'a usage that is a SET', trustList({ usage: set(oid(OID.catalogList)) })],
  ['der-malformed', 'something behind the entries', trustList({ after: [NULL] })],
  ['der-malformed', 'two sets of extensions', trustList({ after: [explicit(0, seq()), explicit(0, seq())] })],
  [
    'der-malformed',
    'an extension that is no attribute',
    trustList({ after: [extension(octets(Buffer.from('ab')))] }),
  ],
  [
    'der-malformed',
    'bytes behind an extension',
    trustList({
      after: [extension(Buffer.concat([nameValue(bmp('a'), integer(1), octets(Buffer.alloc(2))), NULL]))],
    }),
  ],
  ['der-malformed', 'an empty list', seq()],
];

/** Parts of an unsigned catalog around its list. */
const around = (list: Buffer, change: (parts: Buffer[]) => Buffer[]): Buffer => {
  const [type, wrapped] = children(parseDer(buildUnsignedCatalog(list), 'it'), 'it');
  const parts = children(parseDer(wrapped?.body ?? assert.fail(), 'it'), 'it').map(({ raw }) => raw);
  return seq(type?.raw ?? assert.fail(), explicit(0, seq(...change(parts))));
};

const sha256 = set(seq(oid(OID.sha256), NULL));
const UNSOUND: [code: string, what: string, bytes: Buffer][] = [
  [
    'catalog-malformed',
    'digest algorithms without a signer',
    around(trustList({}), (parts) => parts.with(1, sha256)),
  ],
  [
    'catalog-malformed',
    'certificates without a signer',
    around(trustList({}), (parts) => parts.toSpliced(3, 0, tlv(0xa0, seq()))),
  ],
  ['catalog-malformed', 'another version', around(trustList({}), (parts) => parts.with(0, integer(3)))],
  ['der-malformed', 'something behind the signers', around(trustList({}), (parts) => [...parts, set()])],
  ['der-malformed', 'no signers', around(trustList({}), (parts) => parts.slice(0, -1))],
  ['der-malformed', 'bytes behind it', Buffer.concat([catalogOf('a'), Buffer.alloc(1)])],
  ['der-malformed', 'a byte missing', catalogOf('a').subarray(0, -1)],
  [
    'der-malformed',
    'two lists',
    around(trustList({}), (parts) =>
      parts.with(2, seq(oid(OID.ctl), explicit(0, trustList({}), trustList({})))),
    ),
  ],
  ['der-malformed', 'no list', around(trustList({}), (parts) => parts.with(2, seq(oid(OID.ctl))))],
  [
    'not-signable',
    'another content',
    around(trustList({}), (parts) => parts.with(2, seq(oid(OID.data), explicit(0, trustList({}))))),
  ],
];

describe('a catalog that is refused', () => {
  for (const [code, what, list] of REFUSED)
    it(`${code}: ${what}`, async () => {
      await assert.rejects(open('a.cat', buildUnsignedCatalog(list)), { code });
    });

  for (const [code, what, bytes] of UNSOUND)
    it(`${code}: ${what}, in the file around the list`, async () => {
      await assert.rejects(open('a.cat', bytes), { code });
    });

  it('does so wherever it was cut', async () => {
    const whole = catalogOf('a');
    for (let length = 0; length < whole.length; length += 1)
      await assert.rejects(open('a.cat', whole.subarray(0, length)), SignpipeError);
  });

  it('catalog-empty: a list of nothing is not signed', async () => {
    const bytes = buildUnsignedCatalog(buildList([], { time: TIME }));
    assert.equal(await judge('a.cat', bytes), 'unsigned');
    const file = await open('a.cat', bytes);
    assert.throws(() => file.requireSignable(), { code: 'catalog-empty' });
  });
});
