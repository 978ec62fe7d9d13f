import { hostname, userInfo } from 'node:os';
import { usage } from '../../lib/errors.ts';

/** The person or machine that a site is created for. */
export interface SiteIdentity {
  /** Stands in commits. */
  readonly name: string;
  /** The principal in allowed signers, and the comment of keys. */
  readonly email: string;
  /** One plain word made of the name: for authorized_keys, and for the branch vouch/NAME. */
  readonly shortName: string;
}

const NAME = /^[^<>\p{C}]{1,100}$/u;
/** No blanks, quotes, commas, wildcards or `!`, which mean something in allowed signers. */
const PRINCIPAL = /^[A-Za-z0-9][A-Za-z0-9._%+@-]{0,99}$/;

const plainWord = (text: string): string =>
  text
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|(?<!-)-+$/g, '')
    .slice(0, 50);

/** The account and the machine, where nothing was given. Throws `init-name`, `init-email` (usage). */
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
    throw usage('init-email', '--email is no plain address: it becomes a name in allowed signers', {
      hint: 'give one such as build@example.org',
    });
  return { name, email, shortName: plainWord(given.name ?? email) || role };
}
