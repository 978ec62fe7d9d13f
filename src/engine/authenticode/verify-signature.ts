import { OID, type KnownDigest } from '../../lib/asn1/oids.ts';
import {
  checkContentType,
  checkMessageDigest,
  checkSignature,
  type SignedData,
} from '../../lib/cms/signed-data.ts';
import { invalid, messageOf, SignpipeError } from '../../lib/errors.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import { buildChain, type ChainOptions } from '../../lib/x509/chain.ts';
import { isSignedByIssuer } from './certificate-paths.ts';
import { Checklist, found, type StepResult } from './verification-steps.ts';
import { readCountersignature, type Countersignature } from './countersignature.ts';
import type { SignableFile, Finding } from '../formats/signable-file.ts';
import { certificateReport, type Note, type SignatureReport, type TimestampReport } from './report.ts';
import { digestedBytes, readSignature, type AuthenticodeSignature } from './signature.ts';
import { requireProfile, type ProfiledSignature } from './signature-profile.ts';
import { findingsIn, signatureLabel } from './unauthenticated-data.ts';

export interface VerifyOptions {
  /**
   * Who may vouch for signers. Without it nobody is asked, and the best answer is `intact`. The
   * system's own store is never used.
   */
  readonly roots?: readonly Certificate[];
  /** Who may vouch for timestamp authorities. Where `roots` are given, a timestamp proves no time without these. */
  readonly timestampRoots?: readonly Certificate[];
  /** As of when to judge; now when left out. */
  readonly at?: Date;
  /** Refuses a signature without a timestamp (`timestamp-missing`). */
  readonly requireTimestamp?: boolean;
}

/** Where a signature stands in its file. */
export interface Place {
  /** 0 is the primary signature; the others follow in the file's order. */
  readonly index: number;
  /** Whether it is nested in another one. */
  readonly nested: boolean;
}

/**
 * Verifies one signature (ContentInfo, DER) step by step. Each step adds a line to the report; one that needs
 * what an earlier step did not find is left out. `sha1` accepts SHA-1 in the signature, its chain and its
 * timestamp, and exempts it from nothing else: every other step is still taken.
 */
export async function verifySignature(
  der: Buffer,
  place: Place,
  file: SignableFile,
  options: VerifyOptions & { readonly sha1: boolean },
): Promise<SignatureReport> {
  const steps = new Steps(place, file, options);
  const { list } = steps;
  const signature = await list.run('structure', () => steps.structure(der));
  if (!signature) return unreadable(place, list);
  const { certificate } = signature;
  await steps.digestStrength(signature);
  await list.run('file-digest', () => steps.fileDigest(signature));
  await list.run('signed-attributes', () => steps.signedAttributes(signature));
  await list.run('signature', () => steps.signature(signature));
  if (certificate) await list.run('purpose', () => steps.purpose(certificate));
  const timestamp = await steps.timestamp(signature);
  list.survey('unsigned-parts', NOTHING_BESIDES, () => steps.unsignedParts(signature, timestamp));
  const trusted = timestamp ? await steps.timestampChain(signature, timestamp) : null;
  const stamped = timestamp && { ...timestamp, trusted };
  if (certificate) {
    const at = steps.decisiveTime(certificate, stamped);
    await list.run('validity', () => steps.validity(certificate, at, stamped));
    await steps.chain(signature, certificate, at);
  }
  return reportOn(place, signature, stamped, list);
}

/** A timestamp, and whether a root that was given vouches for it; null when none was. */
interface Stamped extends Countersignature {
  readonly trusted: boolean | null;
}

const isStamped = ({ timestamps, counterSignatures }: AuthenticodeSignature): boolean =>
  timestamps.length + counterSignatures.length > 0;

const NOTHING_BESIDES = 'timestamps, nested signatures and the certificates of their chains, nothing else';

/** What is checked in each step of the list. */
class Steps {
  readonly list = new Checklist();
  private readonly what: string;
  private readonly now: Date;

  constructor(
    private readonly place: Place,
    private readonly file: SignableFile,
    private readonly options: VerifyOptions & { readonly sha1: boolean },
  ) {
    this.what = `${file.source.name}: ${signatureLabel(place)}`;
    this.now = options.at ?? new Date();
  }

  structure(der: Buffer): StepResult<ProfiledSignature> {
    const signature = readSignature(der, this.what);
    const value = requireProfile(signature, this.file, this.what);
    return { detail: `one signer, ${value.hash} throughout`, value };
  }

  async digestStrength({ hash }: ProfiledSignature): Promise<void> {
    if (hash === 'sha1' && this.options.sha1)
      this.list.skip('digest-strength', 'SHA-1, accepted beside a better signature, or for integrity only');
    else
      await this.list.run('digest-strength', () => {
        if (hash === 'md5' || hash === 'sha1')
          throw invalid('digest-weak', `${this.what}: made with ${hash}, for which collisions can be made`);
        return found(hash);
      });
  }

  async fileDigest({ hash, digest }: ProfiledSignature): Promise<StepResult<true>> {
    const actual = await this.file.digest(hash);
    if (actual.equals(digest)) return found(`the file has the ${hash} digest that was signed`);
    throw invalid(
      'file-digest-differs',
      `${this.what}: it signs ${hash} ${digest.toString('hex')}, the file has ${actual.toString('hex')}`,
      { hint: 'the program was changed after it was signed' },
    );
  }

  /** RFC 2315 section 9.3: the digest is over the content without its tag and length. */
  signedAttributes({ signer, content }: ProfiledSignature): StepResult<true> {
    checkContentType(signer, content.type, this.what);
    checkMessageDigest(signer, digestedBytes(content), this.what);
    return found('contentType and messageDigest are those of the content');
  }

  signature({ certificate, signer, content }: ProfiledSignature): StepResult<true> {
    if (!certificate)
      throw invalid('signer-certificate-missing', `${this.what}: the signer's certificate is not in it`);
    try {
      checkSignature(signer, certificate.publicKey, digestedBytes(content), this.what);
    } catch (error) {
      if (error instanceof SignpipeError) throw error;
      throw invalid('cms-signature-wrong', `${this.what}: cannot be checked: ${messageOf(error)}`, {
        cause: error,
      });
    }
    return found(`made with the key of ${certificate.subject}`);
  }

  purpose(certificate: Certificate): StepResult<true> {
    const purpose = certificate.extendedKeyUsage?.includes(OID.codeSigning) ?? false;
    const signs = certificate.keyUsage?.has('digitalSignature') ?? true;
    if (!purpose || !signs)
      throw invalid(
        'certificate-not-for-code-signing',
        `${this.what}: ${certificate.subject} is not for code signing`,
      );
    this.file.requireSigner?.(certificate, this.what);
    return found('the certificate is for code signing');
  }

  async timestamp(signature: ProfiledSignature): Promise<Countersignature | undefined> {
    const { hash, signer, data } = signature;
    const { requireTimestamp, timestampRoots } = this.options;
    if (!requireTimestamp && !isStamped(signature)) {
      this.list.skip('timestamp', 'there is none');
      return undefined;
    }
    return this.list.run('timestamp', () => {
      const value = readCountersignature(signer, data.certificates, {
        now: this.now,
        // Without roots a timestamp proves no time, whatever its digest.
        weakDigests: timestampRoots === undefined || this.stampsWithSha1(hash),
        what: this.what,
      });
      if (!value) throw invalid('timestamp-missing', `${this.what}: it carries no timestamp`);
      const kind = value.kind === 'legacy' ? ' (legacy countersignature)' : '';
      return { detail: `${value.time.toISOString()} by ${value.authority}${kind}`, value };
    });
  }

  /**
   * Certificates are not judged if the signer's is missing or the timestamp does not hold, which was said, nor
   * if the chain is going to say that the signer's issuer did not sign it.
   */
  unsignedParts(signature: ProfiledSignature, timestamp: Countersignature | undefined): Finding[] {
    const { certificate, data } = signature;
    const timestamps = isStamped(signature) === (timestamp !== undefined);
    const certificates = timestamps && certificate !== undefined && !this.isForged(certificate, data);
    const { roots = null, timestampRoots = null } = this.options;
    const scope = { certificates, timestamps, roots, timestampRoots };
    return findingsIn(signature, this.place, scope).map(({ code, message }) => ({
      code,
      message: `${this.file.source.name}: ${message}`,
    }));
  }

  private isForged(certificate: Certificate, { certificates }: SignedData): boolean {
    const { roots } = this.options;
    if (!roots || roots.some((root) => root.equals(certificate))) return false;
    return !isSignedByIssuer(certificate, [...roots, ...certificates]);
  }

  /**
   * Whether a timestamp may use SHA-1. That of a SHA-1 signature may: if the signature is refused for its digest,
   * its timestamp is not refused for the same.
   */
  private stampsWithSha1(hash: KnownDigest): boolean {
    return hash === 'sha1' || (this.options.sha1 && this.options.roots !== undefined);
  }

  async timestampChain(
    { hash }: ProfiledSignature,
    { certificate, certificates, time }: Countersignature,
  ): Promise<boolean | null> {
    const roots = this.options.timestampRoots;
    if (!roots) {
      this.list.skip('timestamp-chain', 'no roots given for timestamps');
      return null;
    }
    // Without roots nothing is asked of a SHA-1 signature but integrity, so its timestamp proves no time.
    if (hash === 'sha1' && !this.options.roots) {
      this.list.skip('timestamp-chain', 'not asked of a SHA-1 signature without roots for signers');
      return null;
    }
    const usage = OID.timeStamping;
    const holds = await this.list.run('timestamp-chain', () =>
      chainFinding(certificate, {
        intermediates: certificates,
        roots,
        at: time,
        usage,
        sha1: this.stampsWithSha1(hash),
      }),
    );
    return holds ?? false;
  }

  /**
   * When the signer's certificate has to have been valid: at the timestamp's time, else now. The
   * lifetime-signing purpose lets no signature outlive its certificate (Microsoft). Where trust is
   * asked for, only a timestamp that is trusted itself counts: anyone can run an authority.
   */
  decisiveTime(certificate: Certificate, timestamp: Stamped | undefined): Date {
    if (!timestamp || certificate.extendedKeyUsage?.includes(OID.lifetimeSigning)) return this.now;
    const nobodyAsked = this.options.roots === undefined;
    return (timestamp.trusted ?? nobodyAsked) ? timestamp.time : this.now;
  }

  validity(certificate: Certificate, at: Date, timestamp: Stamped | undefined): StepResult<true> {
    const { subject, notBefore, notAfter } = certificate;
    const when = `${at.toISOString()}${at === timestamp?.time ? ', the timestamp' : ''}`;
    if (at < notBefore)
      throw invalid(
        'certificate-not-yet-valid',
        `${this.what}: ${subject} is valid from ${notBefore.toISOString()}, after ${when}`,
      );
    if (at <= notAfter) return found(`the certificate is valid at ${when}`);
    const unvouched = timestamp?.trusted === null && timestamp.time <= notAfter;
    throw invalid(
      'certificate-expired',
      `${this.what}: ${subject} expired ${notAfter.toISOString()}`,
      unvouched ? { hint: 'its timestamp is earlier: give the root of the timestamp authority' } : {},
    );
  }

  /** Asked last, and only of a signature that nothing else is wrong with: one fault, one problem. */
  async chain({ data }: ProfiledSignature, certificate: Certificate, at: Date): Promise<void> {
    const { roots, sha1 } = this.options;
    if (!roots) this.list.skip('chain', 'not checked: no roots given');
    else if (this.list.failed) this.list.skip('chain', 'not asked: an earlier step failed');
    else
      await this.list.run('chain', () =>
        chainFinding(certificate, {
          intermediates: data.certificates,
          roots,
          at,
          usage: OID.codeSigning,
          sha1,
        }),
      );
  }
}

function chainFinding(leaf: Certificate, options: ChainOptions): StepResult<true> {
  const chain = buildChain(leaf, options);
  return found(chain.map(({ commonName }) => commonName).join(' < '));
}

// --- reporting -----------------------------------------------------------------------------

const unreadable = ({ index, nested }: Place, { checks }: Checklist): SignatureReport => ({
  index,
  nested,
  digestAlgorithm: null,
  digest: null,
  signer: null,
  timestamp: null,
  checks,
  notes: [],
  trusted: false,
});

function reportOn(
  { index, nested }: Place,
  { hash, digest, certificate, description, signingTime, data }: ProfiledSignature,
  timestamp: Stamped | undefined,
  { checks, failed }: Checklist,
): SignatureReport {
  const vouched = checks.some(({ name, ok }) => name === 'chain' && ok === true);
  return {
    index,
    nested,
    digestAlgorithm: hash,
    digest: digest.toString('hex'),
    signer: certificate ? certificateReport(certificate) : null,
    ...(description.name !== null && { programName: description.name }),
    ...(description.url !== null && { url: description.url }),
    ...(signingTime && { signingTime: signingTime.toISOString() }),
    timestamp: timestamp ? timestampReport(timestamp) : null,
    checks,
    notes: [...notesOn(data)],
    trusted: failed ? false : vouched || null,
  };
}

/** RFC 2315 section 9.1 wants version 1; RFC 5652 section 5.1, which came later, wants 3 for content like this. */
const notesOn = ({ version }: SignedData): Note[] =>
  version === 1
    ? []
    : [
        {
          code: 'signed-data-version',
          message: `SignedData has version ${version}, where Windows writes 1`,
        },
      ];

const timestampReport = ({ kind, time, authority, certificate, trusted }: Stamped): TimestampReport => ({
  kind,
  time: time.toISOString(),
  authority,
  certificate: certificateReport(certificate),
  trusted,
});
