/** Object identifiers, each with the document that defines it. */
export const OID = {
  // RFC 5652, PKCS #7 and CMS
  data: '1.2.840.113549.1.7.1',
  signedData: '1.2.840.113549.1.7.2',
  // RFC 5652 section 11, PKCS #9
  contentType: '1.2.840.113549.1.9.3',
  messageDigest: '1.2.840.113549.1.9.4',
  signingTime: '1.2.840.113549.1.9.5',
  counterSignature: '1.2.840.113549.1.9.6',
  // RFC 5035 and RFC 2634, binding a TSA's certificate to its token
  signingCertificate: '1.2.840.113549.1.9.16.2.12',
  signingCertificateV2: '1.2.840.113549.1.9.16.2.47',
  // RFC 3161
  tstInfo: '1.2.840.113549.1.9.16.1.4',
  // Microsoft, "Windows Authenticode Portable Executable Signature Format"
  spcIndirectData: '1.3.6.1.4.1.311.2.1.4',
  spcStatementType: '1.3.6.1.4.1.311.2.1.11',
  spcSpOpusInfo: '1.3.6.1.4.1.311.2.1.12',
  spcPeImageData: '1.3.6.1.4.1.311.2.1.15',
  spcIndividualPurpose: '1.3.6.1.4.1.311.2.1.21',
  spcNestedSignature: '1.3.6.1.4.1.311.2.4.1',
  // Microsoft, wintrust.h: what signatures of cabinets sign
  spcCabData: '1.3.6.1.4.1.311.2.1.25',
  spcLink: '1.3.6.1.4.1.311.2.1.28',
  spcEnhancedHash: '1.3.6.1.4.1.311.2.5.1',
  // Microsoft's wintrust.h: SPC_PE_IMAGE_PAGE_HASHES_V1 (SHA-1) and _V2 (SHA-256)
  spcPageHashesV1: '1.3.6.1.4.1.311.2.3.1',
  spcPageHashesV2: '1.3.6.1.4.1.311.2.3.2',
  // Microsoft, in files that signtool signed: which subject interface package knows the file
  spcSipInfo: '1.3.6.1.4.1.311.2.1.30',
  // Microsoft's mscat.h and wincrypt.h: certificate trust lists and catalogs
  ctl: '1.3.6.1.4.1.311.10.1',
  catalogList: '1.3.6.1.4.1.311.12.1.1',
  catalogListMember: '1.3.6.1.4.1.311.12.1.2',
  catalogListMember2: '1.3.6.1.4.1.311.12.1.3',
  catalogNameValue: '1.3.6.1.4.1.311.12.2.1',
  catalogMemberInfo: '1.3.6.1.4.1.311.12.2.2',
  catalogMemberInfo2: '1.3.6.1.4.1.311.12.2.3',
  // Microsoft: an RFC 3161 token as unsigned attribute
  spcTimestampToken: '1.3.6.1.4.1.311.3.3.1',
  lifetimeSigning: '1.3.6.1.4.1.311.10.3.13',
  // NuGet, "Package Signatures Technical Specification", with attributes of RFC 5126 and RFC 3161 appendix A
  commitmentType: '1.2.840.113549.1.9.16.2.16',
  proofOfOrigin: '1.2.840.113549.1.9.16.6.1',
  proofOfReceipt: '1.2.840.113549.1.9.16.6.2',
  timestampToken: '1.2.840.113549.1.9.16.2.14',
  nugetServiceIndex: '1.3.6.1.4.1.311.84.2.1.1.1',
  nugetPackageOwners: '1.3.6.1.4.1.311.84.2.1.1.2',
  // CA/Browser Forum: reserved certificate policies for code signing
  codeSigningPolicy: '2.23.140.1.4.1',
  extendedValidation: '2.23.140.1.3',
  // Digests: RFC 5754, RFC 3279
  md5: '1.2.840.113549.2.5',
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
  // Keys and signatures: RFC 3279, RFC 4055, RFC 5480, RFC 5758
  rsaEncryption: '1.2.840.113549.1.1.1',
  sha1WithRsa: '1.2.840.113549.1.1.5',
  sha256WithRsa: '1.2.840.113549.1.1.11',
  sha384WithRsa: '1.2.840.113549.1.1.12',
  sha512WithRsa: '1.2.840.113549.1.1.13',
  ecPublicKey: '1.2.840.10045.2.1',
  p256: '1.2.840.10045.3.1.7',
  p384: '1.3.132.0.34',
  p521: '1.3.132.0.35',
  ecdsaWithSha1: '1.2.840.10045.4.1',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  ecdsaWithSha384: '1.2.840.10045.4.3.3',
  ecdsaWithSha512: '1.2.840.10045.4.3.4',
  // RFC 5280, certificate extensions and purposes
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  certificatePolicies: '2.5.29.32',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  anyExtendedKeyUsage: '2.5.29.37.0',
  codeSigning: '1.3.6.1.5.5.7.3.3',
  timeStamping: '1.3.6.1.5.5.7.3.8',
  /**
   * signpipe's own, from a random UUID under 2.25 (ITU-T X.667), which needs no registration: a non-critical extension
   * with NULL inside that marks a certificate for tests.
   */
  signpipeTest: '2.25.165621056371566917891384213270276967239',
} as const;

/** The digest algorithms for signing. */
export type DigestName = 'sha256' | 'sha384' | 'sha512';

/** The digest algorithms that are known when verifying. */
export type KnownDigest = DigestName | 'sha1' | 'md5';

const DIGESTS: ReadonlyMap<string, KnownDigest> = new Map([
  [OID.md5, 'md5'],
  [OID.sha1, 'sha1'],
  [OID.sha256, 'sha256'],
  [OID.sha384, 'sha384'],
  [OID.sha512, 'sha512'],
]);

/** The name of a digest algorithm in node:crypto, or undefined if it is not known. */
export const digestName = (oid: string): KnownDigest | undefined => DIGESTS.get(oid);

/** Length of a digest in bytes. */
export const DIGEST_BYTES: Record<KnownDigest, number> = {
  md5: 16,
  sha1: 20,
  sha256: 32,
  sha384: 48,
  sha512: 64,
};
