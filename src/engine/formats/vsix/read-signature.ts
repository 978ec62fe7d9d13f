import type { Element } from '@xmldom/xmldom';
import { parseDer, type Der } from '../../../lib/asn1/der.ts';
import { Certificate } from '../../../lib/x509/certificate.ts';
import { canonicalXml } from '../../../lib/xml/canonical-xml.ts';
import { parseXml, xmlText } from '../../../lib/xml/parse-xml.ts';
import { endsPlainly, isPlainElement, isPlainXml } from '../../../lib/xml/plain-xml.ts';
import { signatureDigestOf, type XmlDigest } from './algorithms.ts';
import { readDigest, readManifest, type Reference } from './manifest.ts';
import { C14N, DSIG, OBJECT_ID, OPC_SIGNATURE, SIGNATURE_ID } from './names.ts';
import { attributesIn, badSignature, childrenIn, only, readBase64, textOf } from './strict-xml.ts';

/** A signature of a package (ECMA-376 part 2, 12.2.4) that was read. Nothing in it has been verified. */
export interface OpcSignature {
  /** Canonical XML of SignedInfo, which the key signed. */
  readonly signedInfo: Buffer;
  readonly signatureDigest: XmlDigest;
  /** The digest of the object, as SignedInfo states it. */
  readonly objectDigest: Pick<Reference, 'hash' | 'digest'>;
  /** Canonical XML of the object with the list of parts and the time. */
  readonly object: Buffer;
  readonly value: Buffer;
  /** Leaf first. */
  readonly certificates: readonly Certificate[];
  /** What KeyInfo says beside the certificates, which nothing covers. */
  readonly keyName: string | null;
  readonly rsaKey: { readonly modulus: Buffer; readonly exponent: Buffer } | null;
  /** RFC 3161 tokens over the value, as VSIXSignTool and OpenVsixSignTool add them. */
  readonly timestamps: readonly Der[];
  /** Whether the document has only one form for what it says. */
  readonly isPlain: boolean;
}

const MOST_CERTIFICATES = 16;

/** Reads the part that holds a signature, every element of it; throws `opc-…`, `xml-…` and `der-malformed`. */
export function readOpcSignature(bytes: Buffer, what: string): OpcSignature {
  const document = parseXml(bytes, what);
  const root = document.documentElement;
  if (!root || root.localName !== 'Signature' || root.namespaceURI !== DSIG)
    throw badSignature(what, 'it is not an XML signature');
  // Nothing covers this name, which the time in the object refers to.
  const { Id: id = SIGNATURE_ID } = attributesIn(root, ['Id'], what);
  if (id !== SIGNATURE_ID) throw badSignature(what, `it is not named ${SIGNATURE_ID}`);
  const parts = childrenIn(root, ['SignedInfo', 'SignatureValue', 'KeyInfo', 'Object'], what);
  const [object, ...others] = parts.filter(({ localName }) => localName === 'Object');
  if (!object || others.length > 1) throw badSignature(what, 'it does not have one object with its parts');
  const { Id } = attributesIn(object, ['Id'], what);
  if (Id !== OBJECT_ID) throw badSignature(what, `its object is not named ${OBJECT_ID}`);
  const info = only(parts, 'SignedInfo', what);
  const value = only(parts, 'SignatureValue', what);
  attributesIn(value, [], what);
  return {
    ...readSignedInfo(info, what),
    signedInfo: Buffer.from(canonicalXml(info)),
    object: Buffer.from(canonicalXml(object)),
    value: readBase64(value, what),
    ...readKeyInfo(only(parts, 'KeyInfo', what), what),
    timestamps: others.map((each) => readTimestamp(each, what)),
    isPlain: hasOneForm(root, xmlText(bytes, what)),
  };
}

/** Its name is compared with that of the certificate. */
const COMPARED: ReadonlySet<string> = new Set(['KeyName']);

const hasOneForm = (root: Element, text: string): boolean =>
  isPlainXml(text) && endsPlainly(text) && isPlainElement(root, COMPARED, null);

function readSignedInfo(info: Element, what: string): Pick<OpcSignature, 'signatureDigest' | 'objectDigest'> {
  attributesIn(info, [], what);
  const parts = childrenIn(info, ['CanonicalizationMethod', 'SignatureMethod', 'Reference'], what);
  const algorithm = (name: string): string => {
    const element = only(parts, name, what);
    childrenIn(element, [], what);
    return attributesIn(element, ['Algorithm'], what)['Algorithm'] ?? '';
  };
  if (algorithm('CanonicalizationMethod') !== C14N)
    throw badSignature(what, 'it is made over another form than Canonical XML 1.0');
  const signatureDigest = signatureDigestOf(algorithm('SignatureMethod'));
  if (!signatureDigest)
    throw badSignature(what, 'it is made by another algorithm than RSA with PKCS #1 v1.5');
  const reference = only(parts, 'Reference', what);
  const { URI, Type } = attributesIn(reference, ['URI', 'Type'], what);
  if (URI !== `#${OBJECT_ID}` || Type !== `${DSIG}Object`)
    throw badSignature(what, 'it does not sign the object with the list of parts');
  return { signatureDigest, objectDigest: readDigest(reference, what) };
}

function readKeyInfo(info: Element, what: string): Pick<OpcSignature, 'certificates' | 'keyName' | 'rsaKey'> {
  attributesIn(info, [], what);
  const parts = childrenIn(info, ['KeyName', 'KeyValue', 'X509Data'], what);
  const one = (name: string): Element | null =>
    parts.some(({ localName }) => localName === name) ? only(parts, name, what) : null;
  const [name, key, data] = [one('KeyName'), one('KeyValue'), one('X509Data')];
  const certificates = data ? childrenIn(data, ['X509Certificate'], what) : [];
  if (certificates.length > MOST_CERTIFICATES)
    throw badSignature(what, `it has ${certificates.length} certificates`);
  return {
    certificates: certificates.map((each) => Certificate.parse(readBase64(each, what), what)),
    keyName: name && textOf(name, what),
    rsaKey: key && readRsaKey(key, what),
  };
}

function readRsaKey(key: Element, what: string): OpcSignature['rsaKey'] {
  const rsa = only(childrenIn(key, ['RSAKeyValue'], what), 'RSAKeyValue', what);
  const parts = childrenIn(rsa, ['Modulus', 'Exponent'], what);
  const [modulus, exponent] = ['Modulus', 'Exponent'].map((name) =>
    readBase64(only(parts, name, what), what),
  );
  return modulus && exponent ? { modulus, exponent } : null;
}

/** `<Object><TimeStamp Id><Comment/><EncodedTime>` with the token in base64, in no standard. */
function readTimestamp(object: Element, what: string): Der {
  attributesIn(object, [], what);
  const stamp = only(childrenIn(object, ['TimeStamp'], what, OPC_SIGNATURE), 'TimeStamp', what);
  const { Id } = attributesIn(stamp, ['Id'], what);
  const parts = childrenIn(stamp, ['Comment', 'EncodedTime'], what, OPC_SIGNATURE);
  const comment = parts.find(({ localName }) => localName === 'Comment');
  if ((Id ?? TIMESTAMP_ID) !== TIMESTAMP_ID || (comment && textOf(comment, what) !== ''))
    throw badSignature(what, 'its timestamp holds other text');
  return parseDer(readBase64(only(parts, 'EncodedTime', what), what), `${what}: timestamp`);
}

export const TIMESTAMP_ID = 'idSignatureTimestamp';

/** What the object of a signature says: the parts, and the time of signing as its signer claims it. */
export interface OpcObject {
  readonly references: readonly Reference[];
  readonly signingTime: Date;
  /** The time as it is written. */
  readonly time: string;
}

/** Reads the object of a signature, which need not be its canonical form; throws `opc-…`. */
export function readOpcObject(object: Buffer, what: string): OpcObject {
  const root = parseXml(object, what).documentElement;
  if (!root) throw badSignature(what, 'it has no object');
  const parts = childrenIn(root, ['Manifest', 'SignatureProperties'], what);
  const manifest = only(parts, 'Manifest', what);
  attributesIn(manifest, [], what);
  const references = readManifest(manifest, what);
  return { references, ...readTime(only(parts, 'SignatureProperties', what), what) };
}

const FORMAT = 'YYYY-MM-DDThh:mm:ss.sTZD';
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d(?:Z|[+-]\d\d:\d\d)$/;

function readTime(properties: Element, what: string): Pick<OpcObject, 'signingTime' | 'time'> {
  attributesIn(properties, [], what);
  const property = only(childrenIn(properties, ['SignatureProperty'], what), 'SignatureProperty', what);
  const { Id, Target } = attributesIn(property, ['Id', 'Target'], what);
  if (Id !== 'idSignatureTime' || (Target !== '' && Target !== `#${SIGNATURE_ID}`))
    throw badSignature(what, 'its property is not the time of this signature');
  const stated = only(childrenIn(property, ['SignatureTime'], what, OPC_SIGNATURE), 'SignatureTime', what);
  attributesIn(stated, [], what);
  const parts = childrenIn(stated, ['Format', 'Value'], what, OPC_SIGNATURE);
  const [format, time = ''] = ['Format', 'Value'].map((name) => textOf(only(parts, name, what), what));
  const signingTime = new Date(time);
  if (format !== FORMAT || !TIME.test(time) || Number.isNaN(signingTime.getTime()))
    throw badSignature(what, 'its time is not written as expected');
  return { signingTime, time };
}

/** A time as signatures have it, in UTC. */
export const timeText = (at: Date): string => at.toISOString().replace(/(\.\d)\d\dZ$/, '$1+00:00');

/** The object as .NET writes it. */
export const writeOpcObject = (references: readonly string[], time: string): string =>
  `<Object Id="${OBJECT_ID}"><Manifest>${references.join('')}</Manifest><SignatureProperties>` +
  `<SignatureProperty Id="idSignatureTime" Target="#${SIGNATURE_ID}"><SignatureTime xmlns="${OPC_SIGNATURE}">` +
  `<Format>${FORMAT}</Format><Value>${time}</Value></SignatureTime></SignatureProperty></SignatureProperties></Object>`;
