import { OID, type KnownDigest } from '../../lib/asn1/oids.ts';
import { invalid, messageOf, SignpipeError } from '../../lib/errors.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import { buildChain, type ChainOptions } from '../../lib/x509/chain.ts';
import type { Finding, ReadSignature, SignaturePlace } from '../formats/signature-scheme.ts';
import type { SignableFile } from '../formats/signable-file.ts';
import { isSignedByIssuer } from './certificate-paths.ts';
import { readCountersignature, type Countersignature } from './countersignature.ts';
import type { SignatureReport } from './report.ts';
import { schemeOf } from './scheme-of.ts';
import { requireProfile, type ProfiledSignature } from './signature-profile.ts';
import { reportOn, reportUnreadable, type JudgedTimestamp } from './build-signature-report.ts';
import { signatureLabel } from './unauthenticated-data.ts';
import { passed, VerificationSteps, type StepResult } from './verification-steps.ts';

export interface VerifyOptions {
  /**
   * Certificates that chains of signers must end in. Without them chains are not checked, and the best status is
   * `intact`. The system's own store is never used.
   */
  readonly roots?: readonly Certificate[];
  /**
   * Certificates that chains of timestamp authorities must end in. If `roots` are given, a timestamp proves no time
   * without these.
   */
  readonly timestampRoots?: readonly Certificate[];
  /** The time to verify for; now if left out. */
  readonly at?: Date;
  /** Refuses a signature without a timestamp (`timestamp-missing`). */
  readonly requireTimestamp?: boolean;
}

/**
 * Verifies one signature step by step. Each step adds a line to the report; a step is left out if
 * an earlier one did not find what it needs. `sha1` accepts SHA-1 in the signature, its chain and its timestamp; all
 * other steps are still taken.
 */
export async function verifySignature(
  der: Buffer,
  place: SignaturePlace,
  file: SignableFile,
  options: VerifyOptions & { readonly sha1: boolean },
): Promise<SignatureReport> {
  const verifier = new SignatureVerifier(place, file, options);
  const { steps } = verifier;
  const signature = await steps.run('structure', () => verifier.structure(der));
  if (!signature) return reportUnreadable(place, steps);
  const { certificate } = signature.signature;
  await verifier.digestStrength(signature);
  await steps.run('file-digest', () => verifier.fileDigest(signature));
  await steps.run('signed-attributes', () => verifier.signedAttributes(signature));
  await steps.run('signature', () => verifier.signature(signature));
  if (certificate) await steps.run('purpose', () => verifier.purpose(certificate));
  const timestamp = await verifier.timestamp(signature);
  steps.survey('unsigned-parts', NOTHING_BESIDES, () => verifier.unsignedParts(signature, timestamp));
  const trusted = timestamp ? await verifier.timestampChain(signature, timestamp) : null;
  const stamped = timestamp && { ...timestamp, trusted };
  if (certificate) {
    const at = verifier.decisiveTime(certificate, stamped);
    await steps.run('validity', () => verifier.validity(certificate, at, stamped));
    await verifier.chain(signature, certificate, at);
  }
  return reportOn(place, signature, stamped, steps);
}

const hasTimestamp = ({ timestamps, legacyTimestamps }: ReadSignature): boolean =>
  timestamps.length + legacyTimestamps.length > 0;

const NOTHING_BESIDES = 'timestamps, nested signatures and the certificates of their chains, nothing else';

/** What each step checks. */
class SignatureVerifier {
  readonly steps = new VerificationSteps();
  private readonly what: string;
  private readonly now: Date;

  constructor(
    private readonly place: SignaturePlace,
    private readonly file: SignableFile,
    private readonly options: VerifyOptions & { readonly sha1: boolean },
  ) {
    this.what = `${file.source.name}: ${signatureLabel(place)}`;
    this.now = options.at ?? new Date();
  }

  structure(der: Buffer): StepResult<ProfiledSignature> {
    const signature = schemeOf(this.file).read(der, this.what);
    const value = requireProfile(signature, this.file, this.what);
    return { detail: `one signer, ${value.hash} throughout`, value };
  }

  async digestStrength({ hash }: ProfiledSignature): Promise<void> {
    if (hash === 'sha1' && this.options.sha1)
      this.steps.skip('digest-strength', 'SHA-1, accepted beside a better signature, or for integrity only');
    else
      await this.steps.run('digest-strength', () => {
        if (hash === 'md5' || hash === 'sha1')
          throw invalid('digest-weak', `${this.what}: made with ${hash}, for which collisions can be made`);
        return passed(hash);
      });
  }

  async fileDigest({ hash, digest, signature }: ProfiledSignature): Promise<StepResult<true>> {
    const actual = await this.file.digest(hash);
    if (actual.equals(digest)) {
      const more = await this.file.requireStated?.(signature.content, this.what);
      return passed(`the file has the ${hash} digest${more ? ` and the ${more}` : ''} that was signed`);
    }
    throw invalid(
      'file-digest-differs',
      `${this.what}: it signs ${hash} ${digest.toString('hex')}, the file has ${actual.toString('hex')}`,
      { hint: 'the program was changed after it was signed' },
    );
  }

  signedAttributes({ signature }: ProfiledSignature): StepResult<true> {
    signature.requireContent(this.what);
    return passed('contentType and messageDigest are those of the content');
  }

  signature({ signature }: ProfiledSignature): StepResult<true> {
    const { certificate } = signature;
    if (!certificate)
      throw invalid(
        'signer-certificate-missing',
        `${this.what}: it does not include the signer's certificate`,
      );
    try {
      signature.requireValue(certificate.publicKey, this.what);
    } catch (error) {
      if (error instanceof SignpipeError) throw error;
      throw invalid('cms-signature-wrong', `${this.what}: cannot be checked: ${messageOf(error)}`, {
        cause: error,
      });
    }
    return passed(`made with the key of ${certificate.subject}`);
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
    return passed('the certificate is for code signing');
  }

  async timestamp({ hash, signature }: ProfiledSignature): Promise<Countersignature | undefined> {
    const { requireTimestamp, timestampRoots } = this.options;
    if (!requireTimestamp && !hasTimestamp(signature)) {
      this.steps.skip('timestamp', 'there is none');
      return undefined;
    }
    return this.steps.run('timestamp', () => {
      const value = readCountersignature(signature, {
        now: this.now,
        // Without roots a timestamp proves no time, whatever its digest.
        weakDigests: timestampRoots === undefined || this.stampsWithSha1(hash),
        what: this.what,
      });
      if (!value) throw invalid('timestamp-missing', `${this.what}: it has no timestamp`);
      const kind = value.kind === 'legacy' ? ' (legacy countersignature)' : '';
      return { detail: `${value.time.toISOString()} by ${value.authority}${kind}`, value };
    });
  }

  /**
   * Certificates are not examined if the signer's is missing or the timestamp does not verify, which earlier steps
   * report, nor if the chain step will report that the issuer did not sign the signer's certificate.
   */
  unsignedParts({ signature }: ProfiledSignature, timestamp: Countersignature | undefined): Finding[] {
    const { certificate } = signature;
    const timestamps = hasTimestamp(signature) === (timestamp !== undefined);
    const certificates = timestamps && certificate !== undefined && !this.isForged(certificate, signature);
    const { roots = null, timestampRoots = null } = this.options;
    const scope = { certificates, timestamps, roots, timestampRoots };
    return signature.findings(this.place, scope).map(({ code, message }) => ({
      code,
      message: `${this.file.source.name}: ${message}`,
    }));
  }

  private isForged(certificate: Certificate, { certificates }: ReadSignature): boolean {
    const { roots } = this.options;
    if (!roots || roots.some((root) => root.equals(certificate))) return false;
    return !isSignedByIssuer(certificate, [...roots, ...certificates]);
  }

  /**
   * Whether the timestamp may use SHA-1. That of a SHA-1 signature may: if the signature is refused for its digest,
   * its timestamp is not refused for it again.
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
      this.steps.skip('timestamp-chain', 'no roots given for timestamps');
      return null;
    }
    // Without roots a SHA-1 signature is checked for integrity only, so its timestamp proves no time.
    if (hash === 'sha1' && !this.options.roots) {
      this.steps.skip('timestamp-chain', 'not checked for a SHA-1 signature without roots for signers');
      return null;
    }
    const usage = OID.timeStamping;
    const holds = await this.steps.run('timestamp-chain', () =>
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
   * The time at which the signer's certificate must be valid: the timestamp's, else now. With the lifetime-signing
   * purpose no signature outlives its certificate (Microsoft). If roots are given, only a timestamp that is trusted
   * itself counts: anyone can run an authority.
   */
  decisiveTime(certificate: Certificate, timestamp: JudgedTimestamp | undefined): Date {
    if (!timestamp || certificate.extendedKeyUsage?.includes(OID.lifetimeSigning)) return this.now;
    return (timestamp.trusted ?? this.options.roots === undefined) ? timestamp.time : this.now;
  }

  validity(certificate: Certificate, at: Date, timestamp: JudgedTimestamp | undefined): StepResult<true> {
    const { subject, notBefore, notAfter } = certificate;
    const when = `${at.toISOString()}${at === timestamp?.time ? ', the timestamp' : ''}`;
    if (at < notBefore)
      throw invalid(
        'certificate-not-yet-valid',
        `${this.what}: ${subject} is valid from ${notBefore.toISOString()}, after ${when}`,
      );
    if (at <= notAfter) return passed(`the certificate is valid at ${when}`);
    const unchecked = timestamp?.trusted === null && timestamp.time <= notAfter;
    throw invalid(
      'certificate-expired',
      `${this.what}: ${subject} expired ${notAfter.toISOString()}`,
      unchecked ? { hint: 'its timestamp is earlier: give the root of the timestamp authority' } : {},
    );
  }

  /** Taken last, and only if no other step failed: one fault, one problem. */
  async chain({ signature }: ProfiledSignature, certificate: Certificate, at: Date): Promise<void> {
    const { roots, sha1 } = this.options;
    if (!roots) this.steps.skip('chain', 'not checked: no roots given');
    else if (this.steps.failed) this.steps.skip('chain', 'not checked: an earlier step failed');
    else
      await this.steps.run('chain', () =>
        chainFinding(certificate, {
          intermediates: signature.certificates,
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
  return passed(chain.map(({ commonName }) => commonName).join(' < '));
}
