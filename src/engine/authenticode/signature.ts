import { context, DerReader, parseDer } from '../../lib/asn1/der.ts';
import { OID } from '../../lib/asn1/oids.ts';
import { attribute, withUnsignedAttributes } from '../../lib/cms/build-signed-data.ts';
import {
  claimedSigningTime,
  findSignerCertificate,
  parseSignedData,
  singleAttribute,
  type SignerInfo,
} from '../../lib/cms/signed-data.ts';
import { invalid } from '../../lib/errors.ts';
import type { Description } from '../formats/signature-scheme.ts';
import { AUTHENTICODE } from './authenticode-profile.ts';
import type { CmsProfile, CmsSignature } from './cms-profile.ts';
import { readSpcLink, readSpcString } from './spc-link.ts';

/** The most signatures that may be nested in another. */
const MAX_NESTED = 32;

/**
 * Parses one signature, Authenticode's unless a profile is given; those nested in it stay DER. Throws `der-malformed`,
 * `cms-…`, or `authenticode-…` if it is SignedData but not a signature with one signer and content.
 */
export function parseSignature(
  der: Buffer,
  what: string,
  { attributes }: Pick<CmsProfile, 'attributes'> = AUTHENTICODE,
): CmsSignature {
  const data = parseSignedData(der, what);
  const [signer] = data.signers;
  if (data.version !== 1 && data.version !== 3)
    throw invalid('authenticode-version', `${what}: SignedData version ${data.version} instead of 1`);
  if (!signer || data.signers.length !== 1)
    throw invalid('authenticode-signers', `${what}: ${data.signers.length} signers instead of one`);
  if (!data.content) throw invalid('authenticode-content', `${what}: it includes no content`);
  const values = (type: string | null): Buffer[] => (type === null ? [] : valuesOf(signer, type));
  const nested = values(attributes.nested);
  if (nested.length > MAX_NESTED)
    throw invalid('authenticode-nested', `${what}: ${nested.length} nested signatures`);
  return {
    data,
    signer,
    certificate: findSignerCertificate(data, signer),
    content: { type: data.contentType, der: data.content.raw },
    description: readDescription(signer, what),
    signingTime: claimedSigningTime(signer, what),
    timestamps: values(attributes.timestamp),
    counterSignatures: values(attributes.legacyTimestamp),
    nested,
  };
}

const parsedSignatures = new WeakMap<Buffer, CmsSignature>();

/**
 * Parses a signature of an open file, or one nested in it, only once: later calls with the same buffer, which must
 * not change and is always read with the same profile, return the first result. Throws as `parseSignature` does.
 */
export function readSignature(der: Buffer, what: string, profile: CmsProfile = AUTHENTICODE): CmsSignature {
  const signature = parsedSignatures.get(der) ?? parseSignature(der, what, profile);
  parsedSignatures.set(der, signature);
  return signature;
}

const valuesOf = (signer: SignerInfo, type: string): Buffer[] =>
  signer.unsignedAttributes
    .filter((each) => each.oid === type)
    .flatMap((each) => each.values.map((v) => v.raw));

function readDescription(signer: SignerInfo, what: string): Description {
  const value = singleAttribute(signer.signedAttributes, OID.spcSpOpusInfo, what);
  if (!value) return { name: null, url: null };
  const reader = new DerReader(value, what);
  const name = reader.optional(context(0));
  const more = reader.optional(context(1));
  reader.end();
  const link = more && readSpcLink(parseDer(more.body, what), what);
  return {
    name: name ? readSpcString(parseDer(name.body, what), what) : null,
    url: link?.kind === 'url' ? link.url : null,
  };
}

/**
 * Nests one more signature in `primary` (signtool sign /as, osslsigncode -nest), as a value of the unsigned
 * attribute 1.3.6.1.4.1.311.2.4.1. The rest of the primary stays byte for byte.
 */
export function addNested(primary: Buffer, nested: Buffer, what: string): Buffer {
  const { signer } = parseSignature(primary, what);
  const others = signer.unsignedAttributes.filter((each) => each.oid !== OID.spcNestedSignature);
  const values = [...valuesOf(signer, OID.spcNestedSignature), nested];
  const attributes = [...others.map((each) => each.raw), attribute(OID.spcNestedSignature, ...values)];
  return withUnsignedAttributes(primary, attributes, what);
}
