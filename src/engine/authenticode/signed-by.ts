import { printable } from '../../lib/printable.ts';
import { identityText } from '../../lib/x509/certificate-identity.ts';
import type { SignatureReport, VerifyProblem, VerifyReport } from './report.ts';

/**
 * The texts by which a signer may be demanded: its identity (`identityText`), its subject, and `SUBJECT; ISSUER`. Only
 * equal texts match. A value with an equals sign has quotes around it, so that no subject looks like one with an issuer.
 */
function textsOf({ signer, identity }: SignatureReport): string[] {
  if (!signer || !identity) return [];
  const texts = [identityText(identity), signer.subject, `${signer.subject}; ${signer.issuer}`];
  return texts.filter((text) => text !== '');
}

/** Whether a program is good (`ok`) and one of its signatures is by this identity. */
export const isSignedBy = ({ status, signatures }: VerifyReport, identity: string): boolean =>
  status === 'ok' && signatures.some((signature) => textsOf(signature).includes(identity));

/** Reports a program that is good, but not signed by the identity that was demanded. */
export function identityDiffers({ signatures }: VerifyReport, identity: string): VerifyProblem {
  const found = signatures.flatMap((each) => (each.identity ? [identityText(each.identity)] : []));
  return {
    code: 'identity-differs',
    message: `is not signed by ${printable(identity, 400)}, but by ${printable(found.join(', and by '), 800)}`,
  };
}
