import { children, context, contextPrimitive, DerReader, parseDer, type Der } from '../asn1/der.ts';
import { OID } from '../asn1/oids.ts';
import { messageOf } from '../errors.ts';
import type { Certificate } from './certificate.ts';
import { attributesOf } from './distinguished-name.ts';
import { isAddressWithin, isDnsWithin, isMailboxWithin } from './constrained-names.ts';

/*
 * RFC 5280 sections 4.2.1.10 and 6.1.3 (b), (c):
 *
 *   NameConstraints ::= SEQUENCE { permittedSubtrees [0] GeneralSubtrees OPTIONAL, excludedSubtrees [1] … OPTIONAL }
 *   GeneralSubtree  ::= SEQUENCE { base GeneralName, minimum [0] DEFAULT 0, maximum [1] OPTIONAL }
 */

const SUBJECT_ALTERNATIVE_NAME = '2.5.29.17';
const EMAIL_ADDRESS = '1.2.840.113549.1.9.1';

/** Tags of the forms of GeneralName that are compared. */
const RFC822_NAME = contextPrimitive(1);
const DNS_NAME = contextPrimitive(2);
const DIRECTORY_NAME = context(4);
const IP_ADDRESS = contextPrimitive(7);

/** A name of a certificate, or the base of a subtree: its form (the tag of its GeneralName) and its content. */
interface GeneralName {
  readonly form: number;
  readonly content: Buffer;
}

/** Compares a name with a subtree of the same form; null if they cannot be compared. */
type Compare = (name: Buffer, base: Buffer) => boolean | null;

/**
 * Why the certificates below an authority (leaf first) violate its name constraints; null if they do not, or if it
 * has none. Directory names, host names, mailboxes and addresses are compared. A certificate with a name of another
 * constrained form, or with a name that cannot be compared, is refused, and so is a constraint that cannot be read.
 */
export function nameConstraintViolation(
  authority: Certificate,
  below: readonly Certificate[],
): string | null {
  const extension = authority.extensions.get(OID.nameConstraints);
  if (!extension) return null;
  try {
    const { permitted, excluded } = readConstraints(extension.value);
    // RFC 5280 section 6.1.3: a self-issued certificate is exempt unless it is the leaf.
    const bound = below.filter((certificate, height) => height === 0 || !certificate.isSelfIssued);
    const names = bound.flatMap(namesOf);
    const outside = names.find((name) => !isPermitted(name, permitted) || isExcluded(name, excluded));
    return outside
      ? 'limits the names below it, and a certificate in the chain has a name outside these limits'
      : null;
  } catch (error) {
    return `has name constraints that cannot be read: ${messageOf(error)}`;
  }
}

interface Constraints {
  readonly permitted: readonly GeneralName[];
  readonly excluded: readonly GeneralName[];
}

function readConstraints(value: Buffer): Constraints {
  const reader = DerReader.of(value, 'name constraints');
  const permitted = reader.optional(context(0));
  const excluded = reader.optional(context(1));
  reader.end();
  return { permitted: readSubtrees(permitted), excluded: readSubtrees(excluded) };
}

/** `minimum` and `maximum` must be absent (RFC 5280 section 4.2.1.10). */
const readSubtrees = (subtrees: Der | undefined): GeneralName[] =>
  subtrees
    ? children(subtrees, 'name constraints').map((each) => {
        const reader = new DerReader(each, 'name constraints');
        const base = reader.next();
        reader.end();
        return readGeneralName(base);
      })
    : [];

const readGeneralName = (der: Der): GeneralName => ({ form: der.tag, content: der.body });

/** Every name of a certificate: its subject, the subject's e-mail addresses, its alternative names. */
function namesOf(certificate: Certificate): GeneralName[] {
  const subject = parseDer(certificate.subjectDer, 'subject');
  const alternative = certificate.extensions.get(SUBJECT_ALTERNATIVE_NAME);
  const others = alternative ? children(parseDer(alternative.value, 'names'), 'names') : [];
  return [
    ...(subject.body.length > 0 ? [{ form: DIRECTORY_NAME, content: certificate.subjectDer }] : []),
    ...emailAddresses(subject).map((address) => ({
      form: RFC822_NAME,
      content: Buffer.from(address, 'utf8'),
    })),
    ...others.map(readGeneralName),
  ];
}

function isPermitted(name: GeneralName, permitted: readonly GeneralName[]): boolean {
  const alike = permitted.filter(({ form }) => form === name.form);
  return alike.length === 0 || alike.some((base) => isWithin(name, base) === true);
}

/** A name that cannot be compared counts as excluded. */
const isExcluded = (name: GeneralName, excluded: readonly GeneralName[]): boolean =>
  excluded.some((base) => base.form === name.form && isWithin(name, base) !== false);

const isWithin = (name: GeneralName, base: GeneralName): boolean | null =>
  COMPARED.get(name.form)?.(name.content, base.content) ?? null;

function isDirectoryWithin(name: Buffer, base: Buffer): boolean {
  const [parts, prefix] = [name, base].map((each) => relativeNames(parseDer(each, 'directory name')));
  if (!parts || !prefix) return false;
  return prefix.length <= parts.length && prefix.every((part, at) => part === parts[at]);
}

const COMPARED: ReadonlyMap<number, Compare> = new Map<number, Compare>([
  [RFC822_NAME, isMailboxWithin],
  [DNS_NAME, isDnsWithin],
  [DIRECTORY_NAME, isDirectoryWithin],
  [IP_ADDRESS, isAddressWithin],
]);

/** The relative names of a Name as texts, which are equal if the names are equal by RFC 5280 section 7.1. */
const relativeNames = (name: Der): string[] =>
  children(name, 'name').map((relative) =>
    attributesOf(relative, 'name')
      .map(([type, value]) => `${type}=${value.trim().replaceAll(/\s+/g, ' ').toLowerCase()}`)
      .sort()
      .join('+'),
  );

const emailAddresses = (name: Der): string[] =>
  children(name, 'name').flatMap((relative) =>
    attributesOf(relative, 'name').flatMap(([type, value]) => (type === EMAIL_ADDRESS ? [value] : [])),
  );
