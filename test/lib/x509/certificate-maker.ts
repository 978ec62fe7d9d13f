import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import {
  bitString,
  boolean,
  explicit,
  implicit,
  integer,
  NULL,
  octets,
  oid,
  seq,
  set,
  time,
  utf8,
} from '../../../src/lib/asn1/encode-der.ts';
import { OID } from '../../../src/lib/asn1/oids.ts';
import { Certificate } from '../../../src/lib/x509/certificate.ts';

/**
 * Makes certificates with any fault: validators must refuse certificates that a real authority would never issue.
 */
export interface Recipe {
  readonly name: string;
  /** The issuer, which signs; the certificate itself if left out. */
  readonly by?: Made;
  /** The certificate whose name is the issuer's; that of `by` if left out. */
  readonly issuerName?: string;
  readonly key?: KeyPair;
  readonly serial?: number;
  readonly from?: Date;
  readonly until?: Date;
  readonly hash?: 'sha256' | 'sha1';
  /** basicConstraints: left out, or an authority with or without a path length, or an explicit non-authority. */
  readonly authority?: boolean | { pathLength: number };
  readonly usage?: readonly KeyUsage[];
  readonly purposes?: readonly string[];
  readonly purposesCritical?: boolean;
  readonly extensions?: readonly Extension[];
  /** X.509 version 1: no extensions at all. */
  readonly version1?: boolean;
}

export interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  readonly value: Buffer;
}

export interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

export interface Made {
  readonly certificate: Certificate;
  readonly key: KeyPair;
  readonly name: string;
}

/** RFC 5280 section 4.2.1.3, by bit number. */
const KEY_USAGES = { digitalSignature: 0, nonRepudiation: 1, keyEncipherment: 2, keyCertSign: 5, cRLSign: 6 };
export type KeyUsage = keyof typeof KEY_USAGES;

export const newKey = (): KeyPair => generateKeyPairSync('ec', { namedCurve: 'P-256' });

export const nameDer = (commonName: string): Buffer => seq(set(seq(oid('2.5.4.3'), utf8(commonName))));

const keyUsageValue = (usages: readonly KeyUsage[]): Buffer => {
  const bits = usages.map((usage) => KEY_USAGES[usage]);
  const octet = bits.reduce((sum, bit) => sum | (0x80 >> bit), 0);
  return bitString(Buffer.from([octet]), 7 - Math.max(...bits));
};

function basicConstraintsValue(authority: boolean | { pathLength: number }): Buffer {
  if (authority === false) return seq();
  return authority === true ? seq(boolean(true)) : seq(boolean(true), integer(authority.pathLength));
}

const keyId = (key: KeyPair): Buffer =>
  createHash('sha1')
    .update(key.publicKey.export({ type: 'spki', format: 'der' }))
    .digest();

function extensionsOf(recipe: Recipe, key: KeyPair): Extension[] {
  const { authority, usage, purposes, by } = recipe;
  const found: Extension[] = [
    { oid: OID.subjectKeyIdentifier, critical: false, value: octets(keyId(key)) },
    {
      oid: OID.authorityKeyIdentifier,
      critical: false,
      value: seq(implicit(0, octets(keyId(by?.key ?? key)))),
    },
  ];
  if (authority !== undefined)
    found.push({ oid: OID.basicConstraints, critical: true, value: basicConstraintsValue(authority) });
  if (usage) found.push({ oid: OID.keyUsage, critical: true, value: keyUsageValue(usage) });
  if (purposes)
    found.push({
      oid: OID.extendedKeyUsage,
      critical: recipe.purposesCritical ?? false,
      value: seq(...purposes.map(oid)),
    });
  return [...found, ...(recipe.extensions ?? [])];
}

const extensionDer = ({ oid: id, critical, value }: Extension): Buffer =>
  seq(oid(id), ...(critical ? [boolean(true)] : []), octets(value));

/** AlgorithmIdentifier of a signature with `key`; RFC 5758 leaves an ECDSA one's parameters out. */
function signatureAlgorithm(key: KeyPair, hash: 'sha256' | 'sha1'): Buffer {
  if (key.privateKey.asymmetricKeyType === 'rsa')
    return seq(oid(hash === 'sha1' ? OID.sha1WithRsa : OID.sha256WithRsa), NULL);
  return seq(oid(hash === 'sha1' ? OID.ecdsaWithSha1 : OID.ecdsaWithSha256));
}

const YEAR = 365 * 24 * 3600 * 1000;
let serials = 1000;

/** Makes the certificate that `recipe` describes. It has an EC P-256 key unless the recipe has one. */
export function makeCertificate(recipe: Recipe): Made {
  const key = recipe.key ?? newKey();
  const signer = recipe.by?.key ?? key;
  const algorithm = signatureAlgorithm(signer, recipe.hash ?? 'sha256');
  const from = recipe.from ?? new Date(Math.floor(Date.now() / 1000) * 1000 - YEAR);
  const until = recipe.until ?? new Date(Math.floor(Date.now() / 1000) * 1000 + YEAR);
  const toBeSigned = seq(
    ...(recipe.version1 ? [] : [explicit(0, integer(2))]),
    integer(recipe.serial ?? serials++),
    algorithm,
    nameDer(recipe.issuerName ?? recipe.by?.name ?? recipe.name),
    seq(time(from), time(until)),
    nameDer(recipe.name),
    key.publicKey.export({ type: 'spki', format: 'der' }),
    ...(recipe.version1 ? [] : [explicit(3, seq(...extensionsOf(recipe, key).map(extensionDer)))]),
  );
  const signature = sign(recipe.hash ?? 'sha256', toBeSigned, signer.privateKey);
  const der = seq(toBeSigned, algorithm, bitString(signature));
  return { certificate: Certificate.parse(der, recipe.name), key, name: recipe.name };
}

/** A valid certificate authority. */
export const makeAuthority = (recipe: Recipe): Made =>
  makeCertificate({ authority: true, usage: ['keyCertSign', 'cRLSign'], ...recipe });

/** A valid code-signing certificate. */
export const makeCodeSigner = (recipe: Recipe): Made =>
  makeCertificate({
    authority: false,
    usage: ['digitalSignature'],
    purposes: [OID.codeSigning],
    ...recipe,
  });

/** A valid time-stamping certificate (RFC 3161 section 2.3). */
export const makeTimestamper = (recipe: Recipe): Made =>
  makeCertificate({
    authority: false,
    usage: ['digitalSignature'],
    purposes: [OID.timeStamping],
    purposesCritical: true,
    ...recipe,
  });

export const pem = (made: Made): string => made.certificate.x509.toString();

export const privatePem = (made: Made): string =>
  made.key.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
