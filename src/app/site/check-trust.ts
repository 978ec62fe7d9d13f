import type { TrustConfig } from '../config/signer.ts';
import { GIT_NAMESPACE } from '../../lib/git/commit-signature.ts';
import { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import type { AllowedSigner } from '../../lib/sshsig/allowed-signers-line.ts';
import { matchesWildcardList } from '../../lib/sshsig/wildcards.ts';
import { plural } from '../../lib/plural.ts';
import { printable } from '../../lib/printable.ts';
import { ok, warning, type CheckResult } from './check-result.ts';

function expired({ signers, name }: AllowedSigners, now: Date): CheckResult[] {
  return signers
    .filter(({ validBefore }) => validBefore !== null && validBefore < now)
    .map(({ principals, line, validBefore }) =>
      warning(
        'allowed-signer-expired',
        `${name}:${line}: ${printable(principals.join(','), 200)} was good until ${validBefore?.toISOString() ?? ''}`,
        'leave the line for the sake of old requests, and add one with the new key',
      ),
    );
}

/** A person as a list names them, and how many keys of theirs are good now. */
interface ListedPerson {
  readonly names: Set<string>;
  keys: number;
}

const isGood = ({ validAfter, validBefore, namespaces }: AllowedSigner, now: Date): boolean =>
  (validAfter === null || validAfter <= now) &&
  (validBefore === null || validBefore >= now) &&
  (namespaces === null || matchesWildcardList(GIT_NAMESPACE, namespaces));

/** The persons who can sign commits now, in the order of their lines. Keys of authorities belong to no person. */
function personsIn(allowed: AllowedSigners, now: Date): ListedPerson[] {
  const persons = allowed.persons();
  const found = new Map<string, ListedPerson>();
  for (const signer of allowed.signers) {
    if (signer.certAuthority || !isGood(signer, now) || allowed.revoked.reason(signer.key) !== null) continue;
    const id = persons.personId(signer.key);
    const person = found.get(id) ?? { names: new Set(), keys: 0 };
    found.set(id, person);
    person.keys += 1;
    for (const name of signer.principals) if (!name.startsWith('!')) person.names.add(name);
  }
  return [...found.values()];
}

/** The most persons that are listed. */
const MOST_SHOWN = 30;

const nameOf = ({ names, keys }: ListedPerson): string =>
  `${printable([...names].join(' = '), 200)}${keys > 1 ? ` (${keys} keys)` : ''}`;

function describe({ name, signers }: AllowedSigners, persons: readonly ListedPerson[], now: Date): string {
  const keys = persons.reduce((sum, person) => sum + person.keys, 0);
  const shown = persons.slice(0, MOST_SHOWN).map(nameOf);
  const more = persons.length > MOST_SHOWN ? [`and ${persons.length - MOST_SHOWN} more`] : [];
  const authorities = signers.filter((signer) => signer.certAuthority && isGood(signer, now));
  const certified = authorities.map(({ line }) => `those whom the authority in line ${line} certifies`);
  const list = [...shown, ...more, ...certified].join('; ');
  return `${plural(keys, 'key')} of ${plural(persons.length, 'person')} good now, in ${name}${list === '' ? '' : `: ${list}`}`;
}

/** An authority may certify any number of persons; without one, those that are listed are all there are. */
function enough(
  allowed: AllowedSigners,
  persons: readonly ListedPerson[],
  { vouches, unsignedRequests }: TrustConfig,
  now: Date,
): CheckResult[] {
  if (allowed.signers.some((signer) => signer.certAuthority && isGood(signer, now))) return [];
  if (persons.length === 0)
    return [
      warning(
        'nobody-may-request',
        'no key is listed: every request will be refused',
        'add the line that "signpipe init builder" prints',
      ),
    ];
  // A request that need not be signed may be by none of them.
  const others = unsignedRequests === 'accept' ? persons.length : persons.length - 1;
  if (vouches <= others) return [];
  return [
    warning(
      'vouches-unreachable',
      `${plural(vouches, 'other person')} must vouch, and with the requester only ${plural(persons.length, 'person')} can sign now`,
      'list more vouchers, or ask for fewer vouches; keys that share a name, and names that share a key, are one person',
    ),
  ];
}

/** SiteIdentity may request in a channel, and what it takes. */
export async function checkTrust(trust: TrustConfig, now: Date): Promise<CheckResult[]> {
  const unsigned =
    trust.unsignedRequests === 'accept'
      ? [
          warning(
            'unsigned-requests',
            'requests need no signature: whoever can write the request branch decides what is signed',
            'set trust.unsignedRequests to reject unless the Git host is yours alone',
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
    ...enough(allowed, persons, trust, now),
    ...unsigned,
  ];
}
