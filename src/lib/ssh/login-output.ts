import { usage, type SignpipeError } from '../errors.ts';
import { printable } from '../printable.ts';

/**
 * The error for an account whose login shell prints text, which then arrives in place of the protocol's first
 * bytes. `text` is its beginning.
 */
export const loginOutputError = (where: string, text: string, cause?: unknown): SignpipeError =>
  usage(
    'login-shell-prints',
    `${where}: the account prints text before the protocol begins: "${printable(text, 100)}"`,
    {
      cause,
      hint: "make the account's start-up files (.bashrc, .profile) print nothing unless they run on a terminal, and check that the account may use this service",
    },
  );

/** Whether bytes are readable text rather than part of a binary protocol. */
export const isText = (bytes: Buffer): boolean =>
  bytes.every((byte) => byte >= 0x20 || (byte >= 0x09 && byte <= 0x0d) || byte === 0x1b);
