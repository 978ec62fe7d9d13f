/* Comparison of names with subtrees, for the forms of GeneralName that are text or an address (RFC 5280 section 4.2.1.10). */

/** Host names as in DNS: no wildcard, no dot at the end. Other contents of a dNSName are not compared. */
const HOST = /^[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63}){0,126}$/;

/** A mailbox without quotes and comments. */
const MAILBOX = /^([\w!#$%&'*+/=?^`{|}~.-]{1,64})@([a-z0-9_.-]{1,253})$/i;

const textOf = (bytes: Buffer): string => bytes.toString('latin1');

/** `example.org` contains itself and all below it, `.example.org` only what is below it. Null if not comparable. */
export function isDnsWithin(name: Buffer, base: Buffer): boolean | null {
  const [host, tree] = [textOf(name).toLowerCase(), textOf(base).toLowerCase()];
  const domain = tree.replace(/^\./, '');
  if (!HOST.test(host) || !HOST.test(domain)) return null;
  return host.endsWith(`.${domain}`) || (host === domain && tree === domain);
}

/** The base is a mailbox, a host (`example.org`) or all hosts below one (`.example.org`). Null if not comparable. */
export function isMailboxWithin(name: Buffer, base: Buffer): boolean | null {
  const [, local, host] = MAILBOX.exec(textOf(name)) ?? [];
  if (local === undefined || host === undefined || !HOST.test(host.toLowerCase())) return null;
  const tree = textOf(base);
  const [, one, at] = MAILBOX.exec(tree) ?? [];
  if (one !== undefined && at !== undefined) return local === one && host.toLowerCase() === at.toLowerCase();
  const domain = tree.toLowerCase();
  if (!HOST.test(domain.replace(/^\./, ''))) return null;
  return domain.startsWith('.') ? host.toLowerCase().endsWith(domain) : host.toLowerCase() === domain;
}

/** The name is an address of 4 or 16 bytes, the base an address and a mask of that length. Null if not comparable. */
export function isAddressWithin(name: Buffer, base: Buffer): boolean | null {
  if (![4, 16].includes(name.length) || ![8, 32].includes(base.length)) return null;
  if (base.length !== 2 * name.length) return false;
  return name.every((byte, at) => {
    const mask = base[name.length + at] ?? 0;
    return (byte & mask) === ((base[at] ?? 0) & mask);
  });
}
