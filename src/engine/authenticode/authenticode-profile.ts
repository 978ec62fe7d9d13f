import { createHash } from 'node:crypto';
import { explicit, oid, seq } from '../../lib/asn1/encode-der.ts';
import { OID } from '../../lib/asn1/oids.ts';
import { attribute, baseAttributes } from '../../lib/cms/build-signed-data.ts';
import { invalid } from '../../lib/errors.ts';
import type { Description, Finding, SigningSubject } from '../formats/signature-scheme.ts';
import { digestedBytes, type CmsProfile, type CmsSignature } from './cms-profile.ts';
import { spcString, spcUrl } from './spc-link.ts';

/**
 * The signed attributes that signtool writes: content type, message digest, statement type (always individual code
 * signing) and SpcSpOpusInfo, empty without a description. There is no signing time unless one is given: a timestamp
 * is better evidence, and without either the signature does not depend on the clock.
 */
function signedAttributes({ content, hash, description, signingTime }: SigningSubject): Buffer[] {
  const messageDigest = createHash(hash).update(digestedBytes(content)).digest();
  return [
    ...baseAttributes(content.type, messageDigest, signingTime),
    attribute(OID.spcStatementType, seq(oid(OID.spcIndividualPurpose))),
    attribute(OID.spcSpOpusInfo, opusInfo(description)),
  ];
}

/** SpcSpOpusInfo ::= SEQUENCE { programName [0] EXPLICIT SpcString OPTIONAL, moreInfo [1] EXPLICIT SpcLink OPTIONAL } */
const opusInfo = ({ name, url }: Description): Buffer =>
  seq(
    ...(name === null ? [] : [explicit(0, spcString(name))]),
    ...(url === null ? [] : [explicit(1, spcUrl(url))]),
  );

function requireSignerForm({ signer }: CmsSignature, what: string): void {
  if (signer.version !== 1 || !signer.issuer)
    throw invalid(
      'authenticode-version',
      `${what}: the signer is not named by issuer and serial number (version 1)`,
    );
}

/** RFC 2315 section 9.1 asks for version 1; the later RFC 5652 section 5.1 for 3 with content like this. */
const notes = ({ data: { version } }: CmsSignature): Finding[] =>
  version === 1
    ? []
    : [
        {
          code: 'signed-data-version',
          message: `SignedData has version ${version}, where Windows writes 1`,
        },
      ];

/** Authenticode, the kind of signature that most formats have. */
export const AUTHENTICODE: CmsProfile = {
  name: 'authenticode',
  version: 1,
  style: { signerNamedBy: 'issuer', parameters: 'null' },
  attributes: {
    timestamp: OID.spcTimestampToken,
    legacyTimestamp: OID.counterSignature,
    nested: OID.spcNestedSignature,
    others: [],
  },
  includesRoot: false,
  namesCertificate: false,
  signedAttributes,
  requireSignerForm,
  notes,
};
