import { usage, type SignpipeError } from '../errors.ts';
import { printable } from '../printable.ts';

/**
 * What an account prints as it logs in comes before the protocol that was asked for, and is taken for it. `text`
 * is the beginning of that.
 */
export const loginOutputError = (where: string, text: string, cause?: unknown): SignpipeError =>
  usage(
    'login-shell-prints',
    `${where}: the account prints text where a protocol should begin: "${printable(text, 100)}"`,
    {
      cause,
      hint: "have the account's start-up files (.bashrc, .profile) print nothing unless they run on a terminal, and let it use this service",
    },
  );

/** Whether bytes are text as a person writes it, rather than part of a binary protocol. */
export const isText = (bytes: Buffer): boolean =>
  bytes.every((byte) => byte >= 0x20 || (byte >= 0x09 && byte <= 0x0d) || byte === 0x1b);
