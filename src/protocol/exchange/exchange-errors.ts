import { invalid, notAllowed, SignpipeError, unavailable, usage } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';

/** The exchange's own text, shortened to one printable line. */
const quote = (text: string): string => printable(text.trim(), 300);

// The errors of all protocols. `name` is the path as the caller gave it.

export const fileMissing = (name: string, cause?: unknown): SignpipeError =>
  invalid('exchange-file-missing', `${name}: no such file on the exchange`, {
    cause,
    hint: 'upload the file before you push the request',
  });

/** Null for a file that is missing; throws any other failure. */
export function nullIfMissing(failure: SignpipeError): null {
  if (failure.code === 'exchange-file-missing') return null;
  throw failure;
}

export const notAFile = (name: string, cause?: unknown): SignpipeError =>
  invalid('exchange-not-a-file', `${name}: not a regular file on the exchange`, {
    cause,
    hint: 'name a file, not a folder, a pipe or a device',
  });

export const fileIsLink = (name: string, cause?: unknown): SignpipeError =>
  invalid('exchange-link', `${name}: a symbolic link; links in a shared folder are not followed`, {
    cause,
    hint: 'replace the link with the file that it points to',
  });

export const folderIsLink = (name: string): SignpipeError =>
  unavailable('exchange-link', `${name}: a symbolic link; links in a shared folder are not followed`, {
    hint: 'replace it with a folder, or set exchange.url to the folder that it points to',
  });

export const fileChanged = (name: string, cause?: unknown): SignpipeError =>
  invalid('exchange-file-changed', `${name}: changed on the exchange while it was read`, {
    cause,
    hint: 'finish the upload before you push the request, or upload under a temporary name and rename the file',
  });

export const tooLarge = (name: string, size: number, limit: number): SignpipeError =>
  notAllowed('exchange-file-too-large', `${name}: ${size} bytes, more than the ${limit} allowed`, {
    hint: 'make the file smaller, or raise limits.archive',
  });

export const folderMissing = (folder: string, cause?: unknown): SignpipeError =>
  unavailable('exchange-folder-missing', `${folder}: the exchange folder does not exist`, {
    cause,
    hint: 'create it, or mount the share, or correct exchange.url',
  });

export const notAFolder = (folder: string, cause?: unknown): SignpipeError =>
  unavailable('exchange-folder-missing', `${folder}: not a folder`, {
    cause,
    hint: 'create the folder, or correct the configuration',
  });

export const permissionDenied = (name: string, cause?: unknown): SignpipeError =>
  unavailable('exchange-permission-denied', `${name}: the exchange denies access`, {
    cause,
    hint: 'give the account of exchange.url permission to read the incoming folder and to write the outgoing one, including names that begin with a dot',
  });

/** `why` is the exchange's own text. */
export const refused = (name: string, why: string, cause?: unknown): SignpipeError =>
  unavailable('exchange-refused', `${name}: the exchange reported: ${quote(why) || 'an error'}`, {
    cause,
    hint: 'check whether its disk is full or its quota is used up',
  });

export const protocolBroken = (name: string, why: string): SignpipeError =>
  unavailable('exchange-protocol', `${name}: the exchange does not speak the SCP protocol: ${quote(why)}`, {
    hint: "the account's login shell must print nothing when it is not interactive",
  });

export const verifyFailed = (name: string, why: string): SignpipeError =>
  unavailable('exchange-verify-failed', `${name}: the upload was not stored intact: ${why}`, {
    hint: 'try again; if it happens again, check the disk and memory of the exchange host',
  });

export const wrongSize = (name: string, size: number, expected: number): SignpipeError =>
  verifyFailed(name, `${size} bytes instead of ${expected}`);

export const connectionLost = (where: string, why: string): SignpipeError =>
  unavailable('connection-lost', `the connection to ${where} was lost: ${quote(why)}`, {
    hint: 'try again; a new connection is opened',
  });

export const stalled = (where: string, what: string, ms: number): SignpipeError =>
  unavailable('exchange-stalled', `${where} did not answer for ${ms} ms (${what})`, {
    hint: 'check whether the disk behind the exchange hangs',
  });

/**
 * Maps an error during a delivery. An error that blames the request when a file is fetched (missing, changed) means
 * here that the upload was tampered with, and a new attempt can succeed.
 */
export const whileDelivering = (name: string, failure: SignpipeError): SignpipeError =>
  failure.kind === 'invalid' && failure.code !== 'exchange-path-outside'
    ? verifyFailed(name, failure.message)
    : failure;

export const noRename = (name: string, cause?: unknown): SignpipeError =>
  usage('exchange-no-rename', `${name}: the SFTP server does not rename files`, {
    cause,
    hint: 'permit the account of exchange.url to rename files in the outgoing folder: a file gets its name only when it is complete',
  });

export const noCopy = (name: string, cause?: unknown): SignpipeError =>
  usage('exchange-no-copy', `${name}: the exchange cannot copy within itself`, {
    cause,
    hint: 'use OpenSSH 9.0 or later there, with copy-data permitted, or pin the whole zip instead of its entries',
  });

/** An error with a file on this machine. */
export const localFile = (path: string, why: string, cause?: unknown): SignpipeError =>
  new SignpipeError('local', 'exchange-local-file', `${path}: ${quote(why)}`, {
    cause,
    hint: 'check disk space and permissions on this machine',
  });
