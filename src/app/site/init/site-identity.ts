import { hostname, userInfo } from 'node:os';
import { usage } from '../../../lib/errors.ts';

/** The person or machine that a site is set up for. */
export interface SiteIdentity {
  /** The name in commits. */
  readonly name: string;
  /** The principal in allowed signers, and the comment in keys. */
  readonly email: string;
  /** The name as one word of a-z, 0-9 and `-`: for authorized_keys and for the branch vouch/NAME. */
  readonly shortName: string;
}

const NAME = /^[^<>\p{C}]{1,100}$/u;
/** Without spaces, quotes, commas, wildcards and `!`, which have a meaning in allowed signers. */
const PRINCIPAL = /^[A-Za-z0-9][A-Za-z0-9._%+@-]{0,99}$/;

const shortNameOf = (text: string): string =>
  text
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|(?<!-)-+$/g, '')
    .slice(0, 50);

/** The address defaults to the account and the machine. Throws `init-name`, `init-email` (usage). */
export function siteIdentity(
  role: string,
  given: { name?: string | undefined; email?: string | undefined },
): SiteIdentity {
  const name = given.name ?? `signpipe ${role}`;
  if (!NAME.test(name))
    throw usage('init-name', '--name is empty, too long, or has < > or control characters', {
      hint: 'give a name such as "Build Master"',
    });
  const account = `${userInfo().username}@${hostname()}`.replace(/[^A-Za-z0-9._%+@-]/g, '-');
  const email = given.email ?? account;
  if (!PRINCIPAL.test(email))
    throw usage('init-email', '--email is not a plain address: it becomes the principal in allowed signers', {
      hint: 'give one such as build@example.org',
    });
  return { name, email, shortName: shortNameOf(given.name ?? email) || role };
}
