import type { TrustConfig } from '../config/signer.ts';
import { AllowedSigners } from '../sshsig/allowed-signers.ts';
import { printable } from '../printable.ts';
import { ok, warning, type Verdict } from './finding.ts';

function expired({ signers, name }: AllowedSigners, now: Date): Verdict[] {
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

/** Lists of principals may hold patterns; those that name somebody are counted. */
const namesOf = ({ signers }: AllowedSigners, now: Date): Set<string> =>
  new Set(
    signers
      .filter(({ validBefore }) => validBefore === null || validBefore >= now)
      .flatMap(({ principals }) => principals.filter((each) => !each.startsWith('!'))),
  );

function enough(names: ReadonlySet<string>, { vouches }: TrustConfig): Verdict[] {
  if (names.size === 0)
    return [
      warning(
        'nobody-may-request',
        'no key is listed: every request will be refused',
        'add the line that "signpipe init builder" prints',
      ),
    ];
  if ([...names].some((name) => /[*?]/.test(name)) || vouches < names.size) return [];
  return [
    warning(
      'vouches-unreachable',
      `${vouches} others must vouch, and with the requester there are only ${names.size} names`,
      'list more vouchers, or ask for fewer vouches',
    ),
  ];
}

/** Who may request in a channel, and what it takes. */
export async function checkTrust(trust: TrustConfig, now: Date): Promise<Verdict[]> {
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
  const names = namesOf(allowed, now);
  return [
    ok(`${allowed.signers.length} keys of ${names.size} names that are good now, in ${allowed.name}`),
    ...expired(allowed, now),
    ...enough(names, trust),
    ...unsigned,
  ];
}
