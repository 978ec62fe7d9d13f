import { invalid, notAllowed, SignpipeError, unavailable, usage } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';

/** The exchange's own text, fit for one line. */
const said = (text: string): string => printable(text.trim(), 300);

/** Every way an exchange fails, worded once for all protocols. `name` is the path as the caller gave it. */

export const fileMissing = (name: string, cause?: unknown): SignpipeError =>
  invalid('exchange-file-missing', `${name}: no such file on the exchange`, {
    cause,
    hint: 'upload the file first, and push the request after that',
  });

export const notAFile = (name: string, cause?: unknown): SignpipeError =>
  invalid('exchange-not-a-file', `${name}: not a regular file on the exchange`, {
    cause,
    hint: 'name a file, not a folder, a pipe or a device',
  });

export const fileIsLink = (name: string, cause?: unknown): SignpipeError =>
  invalid('exchange-link', `${name}: a symbolic link, and links in a shared folder are not followed`, {
    cause,
    hint: 'put there what it leads to',
  });

export const folderIsLink = (name: string): SignpipeError =>
  unavailable('exchange-link', `${name}: a symbolic link, and links in a shared folder are not followed`, {
    hint: 'make it a folder, or let exchange.url name the folder that it leads to',
  });

export const fileChanged = (name: string, cause?: unknown): SignpipeError =>
  invalid('exchange-file-changed', `${name}: changed on the exchange while it was read`, {
    cause,
    hint: 'let the upload end before the request is pushed, or upload under a temporary name and rename',
  });

export const tooLarge = (name: string, size: number, limit: number): SignpipeError =>
  notAllowed('exchange-file-too-large', `${name}: ${size} bytes, more than the ${limit} allowed`, {
    hint: 'make the file smaller, or raise limits.archive',
  });

export const folderMissing = (folder: string, cause?: unknown): SignpipeError =>
  unavailable('exchange-folder-missing', `${folder}: the exchange folder is not there`, {
    cause,
    hint: 'create it, or mount the share, or correct exchange.url',
  });

export const notAFolder = (folder: string, cause?: unknown): SignpipeError =>
  unavailable('exchange-folder-missing', `${folder}: there is something else than a folder`, {
    cause,
    hint: 'create the folder, or correct the configuration',
  });

export const permissionDenied = (name: string, cause?: unknown): SignpipeError =>
  unavailable('exchange-permission-denied', `${name}: the exchange denies access`, {
    cause,
    hint: 'let the account of exchange.url read the incoming folder and write the outgoing one, also names that begin with a dot',
  });

/** `why` is the exchange's own text: shortened and made printable. */
export const refused = (name: string, why: string, cause?: unknown): SignpipeError =>
  unavailable('exchange-refused', `${name}: the exchange answered: ${said(why) || 'an error'}`, {
    cause,
    hint: 'see whether its disk is full or its quota used up',
  });

export const protocolBroken = (name: string, why: string): SignpipeError =>
  unavailable('exchange-protocol', `${name}: the exchange does not speak the SCP protocol: ${said(why)}`, {
    hint: "the account's login shell must print nothing when it is not interactive",
  });

export const verifyFailed = (name: string, why: string): SignpipeError =>
  unavailable('exchange-verify-failed', `${name}: the upload was not stored intact: ${why}`, {
    hint: 'try again; if it happens again, look at the disk and memory of the exchange host',
  });

export const connectionLost = (where: string, why: string): SignpipeError =>
  unavailable('connection-lost', `the connection to ${where} was lost: ${said(why)}`, {
    hint: 'try again; the connection is made anew',
  });

export const stalled = (where: string, what: string, ms: number): SignpipeError =>
  unavailable('exchange-stalled', `${where} did not answer for ${ms} ms (${what})`, {
    hint: 'see whether the disk behind the exchange hangs',
  });

/**
 * A failure met while delivering. What would blame a request when a file is fetched (missing, changed)
 * means here that somebody meddled with the upload: trying again can help.
 */
export const whileDelivering = (name: string, failure: SignpipeError): SignpipeError =>
  failure.kind === 'invalid' && failure.code !== 'exchange-path-outside'
    ? verifyFailed(name, failure.message)
    : failure;

export const noRename = (name: string, cause?: unknown): SignpipeError =>
  usage('exchange-no-rename', `${name}: the SFTP server does not rename files`, {
    cause,
    hint: 'let the account of exchange.url rename files in the outgoing folder: a file gets its name only when it is whole',
  });

export const noCopy = (name: string, cause?: unknown): SignpipeError =>
  usage('exchange-no-copy', `${name}: the exchange cannot copy within itself`, {
    cause,
    hint: 'use OpenSSH 9.0 or later there, with copy-data permitted, or have files moved as a whole',
  });

/** Something on this machine went wrong with a local file. */
export const localFile = (path: string, why: string, cause?: unknown): SignpipeError =>
  new SignpipeError('local', 'exchange-local-file', `${path}: ${said(why)}`, {
    cause,
    hint: 'see the disk space and permissions on this machine',
  });
