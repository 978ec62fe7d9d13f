import assert from 'node:assert/strict';
import { createHash, sign as cryptoSign } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { proveOnlySignatureAdded } from '../../../../src/engine/authenticode/only-signature-added.ts';
import { readZip } from '../../../../src/engine/formats/packages.ts';
import { recognize } from '../../../../src/engine/formats/recognize.ts';
import { DEFAULT_LIMITS } from '../../../../src/lib/zip/limits.ts';
import { readDetached } from '../../../../src/engine/formats/vsix/signature-parts.ts';
import { canonicalXml } from '../../../../src/lib/xml/canonical-xml.ts';
import { childElements, parseXml } from '../../../../src/lib/xml/parse-xml.ts';
import { createTestPki, type TestPki } from '../../../../src/sandbox/certificates.ts';
import { buildVsix, vsixEntries } from '../../../fixtures/vsix.ts';
import { extra, forge } from '../../../lib/zip/zips.ts';
import { bytesOf, inFolder, must, OpensslTimestamper, source } from '../../authenticode/tools.ts';
import { contentsOf, edited, faultsOf, newPki, open, pack, pathOf, sign, SIGNED_AT } from './vsix-tools.ts';

let pki: TestPki;
let signed: Buffer;
before(async () => {
  pki = await newPki();
  signed = await sign(pki);
});

const ORIGIN = 'package/services/digital-signature/origin.psdsor';
const signatureOf = async (bytes: Buffer): Promise<string> => {
  const contents = await contentsOf(bytes);
  return contents.get(pathOf(contents, '.psdsxs'))?.toString() ?? '';
};

describe('an extension of Visual Studio Code', () => {
  const more = { name: 'extension/package.json', content: '{}' };

  it('is a zip of files, whose programs are signed; its marketplace signs the whole', async () => {
    const kindOf = (bytes: Buffer): Promise<unknown> => recognize(source(bytes, 'a.vsix'));
    assert.equal(await kindOf(buildVsix()), 'program');
    assert.equal(await kindOf(forge([...vsixEntries('one'), more])), 'zip');
  });

  it('zip-is-package: but nothing of a signed package is changed that has its file', async () => {
    const bytes = pack((await contentsOf(signed)).set(more.name, Buffer.from(more.content)));
    await assert.rejects(readZip(source(bytes, 'a.vsix'), DEFAULT_LIMITS), { code: 'zip-is-package' });
  });
});

describe('a signed extension of Visual Studio', () => {
  it('has the parts that .NET writes, behind those that stay', async () => {
    const paths = [...(await contentsOf(signed)).keys()];
    assert.deepEqual(paths.slice(0, 5), [
      'extension.vsixmanifest',
      'readme.txt',
      '_rels/.rels',
      ORIGIN,
      'package/services/digital-signature/_rels/origin.psdsor.rels',
    ]);
    assert.match(
      paths[5] ?? '',
      /^package\/services\/digital-signature\/xml-signature\/[0-9a-f]{32}\.psdsxs$/,
    );
    assert.deepEqual(paths.slice(6), ['[Content_Types].xml']);
  });

  it('signs each part with its content type; parts with relationships in their canonical form', async () => {
    const text = await signatureOf(signed);
    const uris = [...text.matchAll(/<Reference URI="\/([^"]*)">(<Transforms>)?/g)].map(
      ([, uri = '', canonical]) => [uri.replace(/\?.*/, ''), canonical !== undefined],
    );
    assert.deepEqual(uris, [
      ['extension.vsixmanifest', false],
      ['readme.txt', false],
      ['_rels/.rels', true],
      ['package/services/digital-signature/_rels/origin.psdsor.rels', true],
      [ORIGIN, false],
      ['_rels/.rels', true],
    ]);
    assert.match(text, /readme\.txt\?ContentType=text\/plain"/);
    assert.match(text, /<Value>2026-05-14T12:50:34\.9\+00:00<\/Value>/);
    assert.ok(text.includes(createHash('sha256').update('one').digest('base64')));
  });

  it('verifies with xmlsec as XML-DSig, and its value with OpenSSL', () =>
    inFolder(async (folder) => {
      const at = (name: string): string => join(folder, name);
      await writeFile(at('a.xml'), await signatureOf(signed));
      await writeFile(
        at('key.pem'),
        pki.codeSigning.certificate.publicKey.export({ type: 'spki', format: 'pem' }),
      );
      const ids = ['--id-attr:Id', 'http://www.w3.org/2000/09/xmldsig#:Object'];
      const text = await must(
        'xmlsec1',
        '--verify',
        '--ignore-manifests',
        ...ids,
        '--pubkey-pem',
        at('key.pem'),
        at('a.xml'),
      );
      assert.match(text, /OK/);
      const file = await open(signed);
      const [signature = assert.fail()] = file.signatures;
      await writeFile(at('value'), file.scheme.read(signature, 'it').value);
      const info = /<SignedInfo>.*<\/SignedInfo>/.exec(signature.toString())?.[0] ?? '';
      const canonical = info
        .replace('<SignedInfo>', '<SignedInfo xmlns="http://www.w3.org/2000/09/xmldsig#">')
        .replace(/<(\w+)( [^<>]*?) \/>/g, '<$1$2></$1>')
        .replace(/(URI="[^"]*") (Type="[^"]*")/, '$2 $1')
        .replace(/(Type="[^"]*") (URI="[^"]*")/, '$1 $2');
      await writeFile(at('info'), canonical);
      const check = ['dgst', '-sha256', '-verify', at('key.pem'), '-signature', at('value'), at('info')];
      assert.match(await must('openssl', ...check), /Verified OK/);
    }));

  it('has a timestamp over the value, as VSIXSignTool adds it', async () => {
    const timestamper = new OpensslTimestamper(pki.timestamping);
    const stamped = await sign(pki, buildVsix(), { timestamper });
    assert.match(await signatureOf(stamped), /<\/Object><Object><TimeStamp Id="idSignatureTimestamp"/);
    const file = await open(stamped);
    const [signature = assert.fail()] = file.signatures;
    assert.deepEqual(timestamper.asked, [file.scheme.read(signature, 'it').value]);
    const wrong = await edited(stamped, '.psdsxs', (text) =>
      text.replace(/<SignatureValue>[^<]*/, (value) => value.replace(/.{8}$/, 'AAAAAA==')),
    );
    assert.ok((await faultsOf(wrong)).includes('timestamp-imprint'));
  });

  it('includes the certificates between the signer and the root', async () => {
    const long = await createTestPki({ key: 'rsa2048' });
    assert.deepEqual(await faultsOf(await sign(long), long), []);
  });

  it('is the same if it is signed again at the same time', async () => {
    assert.deepEqual(await sign(pki), signed);
    assert.notDeepEqual(await sign(pki, buildVsix(), { signingTime: new Date(0) }), signed);
  });

  it('gives the five parts of its signature, which can be read without the package', async () => {
    const file = await open(signed);
    const [signature = assert.fail()] = file.signatures;
    const detached = await file.detached(signature);
    assert.equal((await contentsOf(detached)).size, 5);
    const [read = assert.fail()] = await readDetached(detached, 'it');
    assert.deepEqual(read.digest().digest, await file.digest('sha256'));
    assert.equal(read.signature.signingTime?.getTime(), SIGNED_AT.getTime());
    const more = pack((await contentsOf(detached)).set('more.exe', Buffer.from('x')));
    await assert.rejects(readDetached(more, 'it'), { code: 'vsix-signature-parts' });
    await assert.rejects((await open(buildVsix())).attach(more), { code: 'vsix-signature-parts' });
  });

  it('loses content types that no part has: they would not be covered', async () => {
    const spare = buildVsix().toString('latin1').length;
    const [manifest = assert.fail(), file = assert.fail(), types = assert.fail(), root = assert.fail()] =
      vsixEntries('one');
    const more = String(types.content).replace(
      '</Types>',
      '<Default Extension="png" ContentType="image/png" /></Types>',
    );
    const original = forge([manifest, file, { ...types, content: more }, root]);
    assert.ok(original.length > spare);
    const result = await sign(pki, original);
    assert.deepEqual(await faultsOf(result, pki), []);
    await proveOnlySignatureAdded(await open(original), await open(result));
  });

  it('is verified if it has the layout of OpenVsixSignTool', async () => {
    const other = openVsixLayout();
    assert.deepEqual(await faultsOf(other, pki), []);
    const file = await open(other);
    const [signature = assert.fail()] = file.signatures;
    assert.deepEqual(
      await bytesOf(
        await (await open(await bytesOf(await file.remove()))).attach(await file.detached(signature)),
      ),
      other,
    );
    const broken = await edited(other, '_rels/.rels', (text) => text.replace('?>', '?> '));
    assert.deepEqual(await faultsOf(broken, pki), ['vsix-part-differs']);
  });

  /** `.psdor`, relationships signed as bytes, a transformation in SignedInfo, a time without target, no name of the key. */
  function openVsixLayout(): Buffer {
    const opc = 'http://schemas.openxmlformats.org/package/2006';
    const relationships = (...all: [type: string, target: string][]): string =>
      `<?xml version="1.0" encoding="utf-8"?><Relationships xmlns="${opc}/relationships">${all.map(([type, target], at) => `<Relationship Target="${target}" Id="R${at}" Type="${type}" />`).join('')}</Relationships>`;
    const rels = 'application/vnd.openxmlformats-package.relationships+xml';
    const origin = 'package/services/digital-signature/origin.psdor';
    const name = 'package/services/digital-signature/xml-signature/ABCDEF.psdsxs';
    const kinds = {
      origin: `${opc}/relationships/digital-signature/origin`,
      one: `${opc}/relationships/digital-signature/signature`,
    };
    const parts: [path: string, type: string, content: string][] = [
      ['extension.vsixmanifest', 'text/xml', '<PackageManifest />'],
      ['readme.txt', 'text/plain', 'one'],
      [
        '_rels/.rels',
        rels,
        relationships(['manifest', '/extension.vsixmanifest'], [kinds.origin, `/${origin}`]),
      ],
      [origin, 'application/vnd.openxmlformats-package.digital-signature-origin', ''],
      [
        'package/services/digital-signature/_rels/origin.psdor.rels',
        rels,
        relationships([kinds.one, `/${name}`]),
      ],
    ];
    const digest = (content: string): string =>
      `<DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256" /><DigestValue>${createHash('sha256').update(content).digest('base64')}</DigestValue>`;
    const list = parts.map(
      ([path, type, content]) =>
        `<Reference URI="/${path}?ContentType=${type}">${digest(content)}</Reference>`,
    );
    const object = `<Object Id="idPackageObject"><Manifest>${list.join('')}</Manifest><SignatureProperties><SignatureProperty Id="idSignatureTime" Target=""><SignatureTime xmlns="${opc}/digital-signature"><Format>YYYY-MM-DDThh:mm:ss.sTZD</Format><Value>2026-05-14T08:50:34.9-04:00</Value></SignatureTime></SignatureProperty></SignatureProperties></Object>`;
    const dsig = 'http://www.w3.org/2000/09/xmldsig#';
    const canonical = (element: string): string => {
      const root = parseXml(
        Buffer.from(`<Signature xmlns="${dsig}">${element}</Signature>`),
        'it',
      ).documentElement;
      return canonicalXml(childElements(root ?? assert.fail())[0] ?? assert.fail());
    };
    const c14n = 'http://www.w3.org/TR/2001/REC-xml-c14n-20010315';
    const info = `<SignedInfo><CanonicalizationMethod Algorithm="${c14n}" /><SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256" /><Reference URI="#idPackageObject" Type="${dsig}Object"><Transforms><Transform Algorithm="${c14n}" /></Transforms>${digest(canonical(object))}</Reference></SignedInfo>`;
    const { key, certificate } = pki.codeSigning;
    const value = cryptoSign('sha256', Buffer.from(canonical(info)), key).toString('base64');
    const document = `\uFEFF<?xml version="1.0" encoding="utf-8"?><Signature xmlns="${dsig}">${info}<SignatureValue>${value}</SignatureValue><KeyInfo><X509Data><X509Certificate>${certificate.raw.toString('base64')}</X509Certificate></X509Data></KeyInfo>${object}</Signature>`;
    const types: [extension: string, type: string][] = [
      ['vsixmanifest', 'text/xml'],
      ['txt', 'text/plain'],
      ['rels', rels],
      ['psdor', 'application/vnd.openxmlformats-package.digital-signature-origin'],
      ['psdsxs', 'application/vnd.openxmlformats-package.digital-signature-xmlsignature+xml'],
    ];
    const defaults = types.map(
      ([extension, type]) => `<Default Extension="${extension}" ContentType="${type}" />`,
    );
    const contents = [
      ...parts.map(([path, , content]) => [path, content]),
      [name, document],
      [
        '[Content_Types].xml',
        `<?xml version="1.0" encoding="utf-8"?><Types xmlns="${opc}/content-types">${defaults.join('')}</Types>`,
      ],
    ] as [string, string][];
    return pack(new Map(contents.map(([path, content]) => [path, Buffer.from(content)])));
  }
});

describe('extensions that are refused, or bad', () => {
  const inSignature = (change: (text: string) => string) => (): Promise<Buffer> =>
    edited(signed, '.psdsxs', change);
  const replacing = (find: string | RegExp, put: string): (() => Promise<Buffer>) =>
    inSignature((text) => text.replace(find, put));
  const inPart = (end: string, find: string | RegExp, put: string) => (): Promise<Buffer> =>
    edited(signed, end, (text) => text.replace(find, put));
  const inSomePart = (end: string, change: (text: string) => string) => (): Promise<Buffer> =>
    edited(signed, end, change);
  const adding = (path: string, content: string) => async (): Promise<Buffer> =>
    pack((await contentsOf(signed)).set(path, Buffer.from(content)));
  const removing = (end: string) => async (): Promise<Buffer> => {
    const contents = await contentsOf(signed);
    contents.delete(pathOf(contents, end));
    return pack(contents);
  };
  const headers = (more: object) => async (): Promise<Buffer> => pack(await contentsOf(signed), more);

  const OBJECT = /<Object Id="idPackageObject">.*<\/Object>/;
  const cases: Record<string, [code: string, make: () => Promise<Buffer>]> = {
    // Something that nobody signed, beside what was signed.
    'a file that is not signed': ['file-digest-differs', adding('malware.txt', 'x')],
    'a file that was changed': ['file-digest-differs', inPart('readme.txt', 'one', 'two')],
    'a file that is missing': ['file-digest-differs', removing('readme.txt')],
    'another content type for a file': [
      'file-digest-differs',
      inPart('[Content_Types].xml', 'text/plain', 'text/html'),
    ],
    'relationships of a file that are not signed': [
      'vsix-part-differs',
      adding(
        '_rels/readme.txt.rels',
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships" />',
      ),
    ],
    'another relationship of the package': [
      'vsix-part-differs',
      inPart('_rels/.rels', '/extension.vsixmanifest', '/readme.txt'),
    ],
    'another relationship to the signature': [
      'vsix-part-differs',
      inPart('origin.psdsor.rels', /Id="R/, 'Id="S'),
    ],
    'an origin that is not empty': ['vsix-signature-parts', inPart('origin.psdsor', /$/, 'x')],
    'a content type without a part': [
      'vsix-form',
      inPart(
        '[Content_Types].xml',
        '</Types>',
        '<Default Extension="png" ContentType="image/message" /></Types>',
      ),
    ],
    'another spelling of an extension': [
      'vsix-form',
      inPart('[Content_Types].xml', 'Extension="txt"', 'Extension="tXt"'),
    ],
    'text in the content types': [
      'opc-content-types',
      inPart('[Content_Types].xml', '</Types>', 'message</Types>'),
    ],
    'characters in the content types that only look blank': [
      'opc-content-types',
      inPart('[Content_Types].xml', '</Types>', '\u00A0\uFEFF</Types>'),
    ],
    'text in a content type': [
      'opc-content-types',
      inPart('[Content_Types].xml', 'ContentType="text/plain" />', 'ContentType="text/plain">x</Default>'),
    ],
    'characters in KeyInfo that only look blank': [
      'opc-signature',
      replacing('<KeyInfo>', '<KeyInfo>\u2003'),
    ],
    'an attribute of the root of the content types': [
      'opc-content-types',
      inPart('[Content_Types].xml', '<Types ', '<Types a="message" '),
    ],
    'a namespace without use in the content types': [
      'vsix-form',
      inPart('[Content_Types].xml', '<Types ', '<Types xmlns:a="message" '),
    ],
    'prefixes in the content types': [
      'vsix-form',
      inSomePart('[Content_Types].xml', (text) =>
        text.replaceAll(/<(\/?)(Types|Default|Override)/g, '<$1m:$2').replace('xmlns=', 'xmlns:m='),
      ),
    ],
    'blanks between content types': [
      'vsix-form',
      inPart('[Content_Types].xml', '><Default', '>\n \n<Default'),
    ],
    'blanks behind the content types': ['vsix-form', inPart('[Content_Types].xml', /$/, '\n \t\n')],
    'a character of a content type by its number': [
      'vsix-form',
      inPart('[Content_Types].xml', 'text/plain', 'text/pl&#x00061;in'),
    ],
    'a namespace without use in KeyInfo': ['opc-form', replacing('<KeyInfo>', '<KeyInfo xmlns:a="message">')],
    'a namespace once more in the value': [
      'opc-form',
      replacing('<SignatureValue>', '<SignatureValue xmlns="http://www.w3.org/2000/09/xmldsig#">'),
    ],
    'a prefix in KeyInfo': [
      'opc-form',
      inSignature((text) =>
        text
          .replace('<KeyInfo>', '<d:KeyInfo xmlns:d="http://www.w3.org/2000/09/xmldsig#">')
          .replace('</KeyInfo>', '</d:KeyInfo>'),
      ),
    ],
    'blanks in the value': ['opc-form', replacing('<SignatureValue>', '<SignatureValue> \t ')],
    'blanks in a certificate': ['opc-form', replacing(/<X509Certificate>(..)/, '<X509Certificate>$1 \t')],
    'blanks between elements of the signature': ['opc-form', replacing('<KeyInfo>', '\n \n<KeyInfo>')],
    'blanks behind the signature': ['opc-form', replacing(/$/, ' \n\t')],
    'a character of a certificate by its number': [
      'opc-form',
      replacing('<X509Certificate>M', '<X509Certificate>&#x4D;'),
    ],
    'a comment in the content types': [
      'vsix-form',
      inPart('[Content_Types].xml', '</Types>', '<!-- message --></Types>'),
    ],
    'a comment in relationships, which Canonical XML leaves out': [
      'vsix-form',
      inPart('/.rels', '</Relationships>', '<!-- message --></Relationships>'),
    ],
    'blanks in the markup of relationships': [
      'vsix-form',
      inPart('/.rels', '<Relationship Type', '<Relationship   Type'),
    ],
    'another signature that nothing leads to': [
      'vsix-signature-parts',
      adding('package/services/digital-signature/xml-signature/b.psdsxs', '<a/>'),
    ],
    'no signature where one belongs': ['vsix-signature-parts', removing('.psdsxs')],
    'no origin': ['vsix-signature-parts', removing('origin.psdsor')],
    'no relationship to the origin': [
      'vsix-signature-parts',
      inPart('_rels/.rels', /<Relationship [^>]*origin"[^>]*>/, ''),
    ],
    'two relationships to origins': [
      'vsix-signature-parts',
      inPart('_rels/.rels', /(<Relationship [^>]*origin"[^>]*)Id="[^"]*" \/>/, '$1Id="A" />$1Id="B" />'),
    ],
    // Wrapping: what is verified is not what is read.
    'a second object': [
      'opc-signature',
      inSignature((text) => text.replace(OBJECT, (object) => object + object)),
    ],
    'the signed object inside of another': [
      'opc-signature',
      inSignature((text) =>
        text.replace(OBJECT, (object) => `<Object Id="idPackageObject">${object}</Object>`),
      ),
    ],
    'the signed object inside of another, under another name': [
      'opc-signature',
      inSignature((text) => text.replace(OBJECT, (object) => `<Object Id="other">${object}</Object>`)),
    ],
    'the signature inside of another element': [
      'opc-signature',
      inSignature((text) => text.replace('<Signature ', '<Wrapper><Signature ').replace(/$/, '</Wrapper>')),
    ],
    'two references in SignedInfo': [
      'opc-signature',
      inSignature((text) => text.replace(/<Reference URI="#.*?<\/Reference>/, (each) => each + each)),
    ],
    'two lists of parts': [
      'opc-signature',
      inSignature((text) => text.replace(/<Manifest>.*<\/Manifest>/, (each) => each + each)),
    ],
    'a list of other parts': ['opc-object-digest', replacing('<Manifest>', '<Manifest> ')],
    'a reference to another object': ['opc-signature', replacing('URI="#idPackageObject"', 'URI="#other"')],
    'a reference to the whole document': ['opc-signature', replacing('URI="#idPackageObject"', 'URI=""')],
    'a reference to a file elsewhere': [
      'opc-reference',
      replacing('URI="/readme.txt', 'URI="http://a.example/readme.txt'),
    ],
    'a reference without a content type': [
      'opc-reference',
      replacing('readme.txt?ContentType=text/plain', 'readme.txt'),
    ],
    'an XSLT transformation': [
      'opc-reference',
      replacing(
        '<Transform Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315" />',
        '<Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116" />',
      ),
    ],
    'exclusive canonicalization': ['opc-signature', replacing('REC-xml-c14n-20010315', '10/xml-exc-c14n#')],
    'two digests of one part': [
      'opc-reference',
      inSignature((text) =>
        text.replace(/<Reference URI="\/_rels.*?<\/Reference>/, (each) =>
          each.replace(
            /<DigestValue>./,
            '<DigestValue>='.slice(0, -1) + (each.includes('<DigestValue>A') ? 'B' : 'A'),
          ),
        ),
      ),
    ],
    'an unknown digest algorithm': ['cms-digest-unknown', replacing(/xmlenc#sha256/, 'xmlenc#md5')],
    'two digest algorithms': [
      'authenticode-digest-mixed',
      replacing(/(<SignatureMethod Algorithm="[^"]*)rsa-sha256/, '$1rsa-sha384'),
    ],
    'HMAC instead of RSA': [
      'opc-signature',
      replacing('xmldsig-more#rsa-sha256', 'xmldsig-more#hmac-sha256'),
    ],
    'an element in SignedInfo': ['opc-signature', replacing('</SignedInfo>', '<Extra /></SignedInfo>')],
    'an attribute in SignedInfo': ['opc-signature', replacing('<SignedInfo>', '<SignedInfo Id="x">')],
    'text in SignedInfo': ['opc-signature', replacing('<SignedInfo>', '<SignedInfo>x')],
    'a comment in SignedInfo, which Canonical XML leaves out': [
      'opc-signature',
      replacing('<SignedInfo>', '<SignedInfo><!-- x -->'),
    ],
    'a comment in a digest': ['opc-signature', replacing('<DigestValue>', '<DigestValue><!-- x -->')],
    'a comment behind the signature': ['opc-form', replacing(/$/, '<!-- message -->')],
    'a processing instruction': ['opc-form', replacing('?><Signature', '?><?message?><Signature')],
    'a document type': [
      'xml-malformed',
      replacing('?><Signature', '?><!DOCTYPE Signature [<!ENTITY a "b">]><Signature'),
    ],
    'another name of the key': ['opc-key-info', replacing(/<KeyName>[^<]*/, '<KeyName>Message')],
    'another key': ['opc-key-info', replacing(/<Modulus>./, '<Modulus>B')],
    'no certificate': ['signer-certificate-missing', replacing(/<X509Data>.*<\/X509Data>/, '')],
    'a certificate without use': [
      'signature-certificate',
      inSignature((text) =>
        text.replace(
          '</X509Data>',
          `<X509Certificate>${pki.timestamping.certificate.raw.toString('base64')}</X509Certificate></X509Data>`,
        ),
      ),
    ],
    'something else in KeyInfo': [
      'opc-signature',
      replacing('</KeyInfo>', '<Extra>message</Extra></KeyInfo>'),
    ],
    'a value that is not base64': ['opc-signature', replacing('<SignatureValue>', '<SignatureValue>*')],
    'another value': [
      'cms-signature-wrong',
      replacing(/<SignatureValue>[^<]{8}/, '<SignatureValue>AAAAAAAA'),
    ],
    'a timestamp with a message': [
      'opc-signature',
      replacing(
        '</Signature>',
        '<Object><TimeStamp xmlns="http://schemas.openxmlformats.org/package/2006/digital-signature"><Comment>message</Comment><EncodedTime>MAA=</EncodedTime></TimeStamp></Object></Signature>',
      ),
    ],
    'a time that is none': ['opc-signature', replacing(/<Value>2026/, '<Value>2O26')],
    'a time of something else': ['opc-signature', replacing('Target="#SignatureIdValue"', 'Target="#other"')],
    'a signature that is empty': ['xml-malformed', inSignature(() => '')],
    'a signature that is cut off': ['xml-malformed', inSignature((text) => text.slice(0, -20))],
    // The zip around the parts.
    'a file whose name is not that of a part': ['vsix-part-name', adding('read me.txt', 'x')],
    'a file whose name escapes a letter': ['vsix-part-name', adding('%72eadme.txt', 'x')],
    'a file whose name escapes a slash': ['vsix-part-name', adding('a%2Freadme.txt', 'x')],
    'a folder': ['vsix-part-name', adding('folder/', '')],
    'a file without a content type': ['vsix-part-type', adding('readme.unknown', 'x')],
    'no content types': ['opc-content-types', removing('[Content_Types].xml')],
    'a content type twice': [
      'opc-content-types',
      inPart(
        '[Content_Types].xml',
        '</Types>',
        '<Default Extension="TXT" ContentType="text/html" /></Types>',
      ),
    ],
    'content types of another kind': ['opc-content-types', inPart('[Content_Types].xml', /Types/g, 'Typen')],
    'relationships with the same id': [
      'opc-relationships',
      inPart('_rels/.rels', /Id="R[0-9a-f]{16}"/, 'Id="R1"'),
    ],
    'a relationship without a target': ['opc-relationships', inPart('_rels/.rels', /Target="[^"]*" /, '')],
    'a comment at an entry': ['vsix-zip', headers({ comment: 'message' })],
    'an unknown extra field': ['vsix-zip', headers({ centralExtra: extra(0x9999, Buffer.from('message')) })],
    'times of Windows with other bytes': [
      'vsix-zip',
      headers({ centralExtra: extra(0x000a, Buffer.alloc(32, 1)) }),
    ],
    'times of Unix with other flags': [
      'vsix-zip',
      headers({ centralExtra: extra(0x5455, Buffer.alloc(5, 9)) }),
    ],
    'an owner of another form': ['vsix-zip', headers({ centralExtra: extra(0x7875, Buffer.alloc(11, 4)) })],
    'an extra field twice': [
      'vsix-zip',
      headers({
        localExtra: Buffer.concat([extra(0x5455, Buffer.alloc(5)), extra(0x5455, Buffer.alloc(5))]),
      }),
    ],
    'bytes between entries': ['vsix-zip', headers({ gap: Buffer.alloc(4) })],
    'attributes that no packer writes': [
      'vsix-zip',
      headers({ central: (header: Buffer) => void header.writeUInt32LE(0x12345678, 38) }),
    ],
    'times that differ': [
      'vsix-zip',
      headers({
        central: (header: Buffer) => {
          header.writeUInt16LE(20, 4);
          header.writeUInt32LE(0, 38);
          header.writeUInt32LE(7, 12);
        },
      }),
    ],
  };

  for (const [what, [code, make]] of Object.entries(cases))
    it(`${code}: ${what}`, async () => {
      const found = await faultsOf(await make());
      assert.ok(found.includes(code), `found ${found.join(', ') || 'nothing'}`);
    });

  it('vsix-key: a key that is not RSA', async () => {
    const other = await createTestPki({ key: 'p256', intermediate: false });
    await assert.rejects(sign(other), { code: 'vsix-key' });
  });

  for (const name of ['_Rels/.rels', 'package/services/digital-signature/Origin.psdsor'])
    it(`vsix-signature-parts: ${name}, which readers take for a part that signing adds, is refused before`, async () => {
      const entries = vsixEntries('one').map((each) => ({
        ...each,
        content: String(each.content).replace(
          '</Types>',
          '<Default Extension="psdsor" ContentType="text/plain" /></Types>',
        ),
      }));
      const others = entries.filter((each) => String(each.name).toLowerCase() !== name.toLowerCase());
      await assert.rejects(sign(pki, forge([...others, { name, content: '<a/>' }])), {
        code: 'vsix-signature-parts',
      });
    });

  it('vsix-form: relationships of a file that say the same in several ways are refused before they are signed', async () => {
    const name = '_rels/readme.txt.rels';
    const content =
      '<r:Relationships xmlns:r="http://schemas.openxmlformats.org/package/2006/relationships"></r:Relationships>';
    await assert.rejects(sign(pki, forge([...vsixEntries('one'), { name, content }])), { code: 'vsix-form' });
  });

  it('vsix-zip: what lies in the zip around the parts is refused before it is signed', async () => {
    const odd = forge(vsixEntries('one').map((each) => ({ ...each, comment: 'message' })));
    await assert.rejects(sign(pki, odd), { code: 'vsix-zip' });
  });

  it('is refused wherever it is cut off', async () => {
    for (let length = 1; length < signed.length; length += 211)
      assert.notDeepEqual(await faultsOf(signed.subarray(0, length)), []);
  });

  it('strip-body-differs: an equal part that is compressed otherwise', async () => {
    const contents = await contentsOf(signed);
    const file = await open(pack(contents));
    assert.deepEqual(await faultsOf(await bytesOf(file.source), pki), []);
    await assert.rejects(proveOnlySignatureAdded(await open(buildVsix()), file), {
      code: 'strip-body-differs',
    });
  });
});
