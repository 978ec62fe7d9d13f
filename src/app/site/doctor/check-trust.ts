import type { TrustConfig } from '../../config/channel-sections.ts';
import { GIT_NAMESPACE } from '../../../lib/git/commit-signature.ts';
import { AllowedSigners } from '../../../lib/sshsig/allowed-signers.ts';
import type { AllowedSigner } from '../../../lib/sshsig/allowed-signers-line.ts';
import { matchesWildcardList } from '../../../lib/sshsig/wildcards.ts';
import { plural } from '../../../lib/plural.ts';
import { printable } from '../../../lib/printable.ts';
import { ok, warning, type CheckResult } from './check-result.ts';

function expired({ signers, name }: AllowedSigners, now: Date): CheckResult[] {
  return signers
    .filter(({ validBefore }) => validBefore !== null && validBefore < now)
    .map(({ principals, line, validBefore }) =>
      warning(
        'allowed-signer-expired',
        `${name}:${line}: ${printable(principals.join(','), 200)} was valid until ${validBefore?.toISOString() ?? ''}`,
        'keep the line, which old requests need, and add a line with the new key',
      ),
    );
}

/** The names of one person in the list, and how many of the person's keys are valid now. */
interface ListedPerson {
  readonly names: Set<string>;
  keys: number;
}

const isValid = ({ validAfter, validBefore, namespaces }: AllowedSigner, now: Date): boolean =>
  (validAfter === null || validAfter <= now) &&
  (validBefore === null || validBefore >= now) &&
  (namespaces === null || matchesWildcardList(GIT_NAMESPACE, namespaces));

/** The persons who can sign commits now, in the order of their lines. Certificate authorities are not persons. */
function personsIn(allowed: AllowedSigners, now: Date): ListedPerson[] {
  const persons = allowed.persons();
  const listed = new Map<string, ListedPerson>();
  for (const signer of allowed.signers) {
    if (signer.certAuthority || !isValid(signer, now) || allowed.revoked.reason(signer.key) !== null)
      continue;
    const id = persons.personId(signer.key);
    const person = listed.get(id) ?? { names: new Set(), keys: 0 };
    listed.set(id, person);
    person.keys += 1;
    for (const name of signer.principals) if (!name.startsWith('!')) person.names.add(name);
  }
  return [...listed.values()];
}

const MAX_SHOWN = 30;

const nameOf = ({ names, keys }: ListedPerson): string =>
  `${printable([...names].join(' = '), 200)}${keys > 1 ? ` (${keys} keys)` : ''}`;

function describe({ name, signers }: AllowedSigners, persons: readonly ListedPerson[], now: Date): string {
  const keys = persons.reduce((sum, person) => sum + person.keys, 0);
  const shown = persons.slice(0, MAX_SHOWN).map(nameOf);
  const more = persons.length > MAX_SHOWN ? [`and ${persons.length - MAX_SHOWN} more`] : [];
  const authorities = signers.filter((signer) => signer.certAuthority && isValid(signer, now));
  const certified = authorities.map(({ line }) => `everyone whom the authority in line ${line} certifies`);
  const list = [...shown, ...more, ...certified].join('; ');
  return `${plural(keys, 'key')} of ${plural(persons.length, 'person')} valid now, in ${name}${list === '' ? '' : `: ${list}`}`;
}

/** Warns if too few persons are listed. An authority may certify any number, so then there is no warning. */
function tooFewPersons(
  allowed: AllowedSigners,
  persons: readonly ListedPerson[],
  { vouches, unsignedRequests }: TrustConfig,
  now: Date,
): CheckResult[] {
  if (allowed.signers.some((signer) => signer.certAuthority && isValid(signer, now))) return [];
  if (persons.length === 0)
    return [
      warning(
        'nobody-may-request',
        'no key is listed: every request will be refused',
        'add the line that "signpipe init builder" prints',
      ),
    ];
  // If requests need no signature, the requester may be none of them.
  const others = unsignedRequests === 'accept' ? persons.length : persons.length - 1;
  if (vouches <= others) return [];
  return [
    warning(
      'vouches-unreachable',
      `${plural(vouches, 'other person')} must vouch, but including the requester only ${plural(persons.length, 'person')} can sign now`,
      'list more vouchers, or require fewer vouches; keys with a common name, and names with a common key, are one person',
    ),
  ];
}

/** Checks who may request in a channel. */
export async function checkTrust(trust: TrustConfig, now: Date): Promise<CheckResult[]> {
  const unsigned =
    trust.unsignedRequests === 'accept'
      ? [
          warning(
            'unsigned-requests',
            'requests need no signature: everyone who can write the request branch decides what is signed',
            'set trust.unsignedRequests to reject, unless only you can write to the Git host',
          ),
        ]
      : [];
  if (trust.allowedSigners === undefined) return unsigned;
  const revoked = trust.revokedKeys === undefined ? {} : { revoked: trust.revokedKeys };
  const allowed = await AllowedSigners.load(trust.allowedSigners, revoked);
  const persons = personsIn(allowed, now);
  return [
    ok(describe(allowed, persons, now)),
    ...expired(allowed, now),
    ...tooFewPersons(allowed, persons, trust, now),
    ...unsigned,
  ];
}
