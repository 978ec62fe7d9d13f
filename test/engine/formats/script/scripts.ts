/** What the tests of all scripts have in common. */
import { signProgram } from '../../../../src/engine/authenticode/sign.ts';
import { verifySignableFile } from '../../../../src/engine/authenticode/verify.ts';
import { openSignableFile } from '../../../../src/engine/formats/recognize.ts';
import type { SignableFile } from '../../../../src/engine/formats/signable-file.ts';
import type { SigningKey } from '../../../../src/engine/keys/signing-key.ts';
import { SignpipeError } from '../../../../src/lib/errors.ts';
import { bytesOf, source } from '../../authenticode/tools.ts';

/** A byte order mark, in the encodings below. */
export const BOM = '\ufeff';

/** Text as it lies in a file. */
export const ENCODINGS = {
  utf8: (text: string) => Buffer.from(text, 'utf8'),
  'utf8-bom': (text: string) => Buffer.from(BOM + text, 'utf8'),
  'utf16le-bom': (text: string) => Buffer.from(BOM + text, 'utf16le'),
  'utf16be-bom': (text: string) => Buffer.from(BOM + text, 'utf16le').swap16(),
} as const;

export const openScript = (name: string, bytes: Buffer): Promise<SignableFile> =>
  openSignableFile(source(bytes, name));

export const digestOf = async (name: string, bytes: Buffer): Promise<string> =>
  (await (await openScript(name, bytes)).digest('sha256')).toString('hex');

export const signScript = async (name: string, bytes: Buffer, key: SigningKey): Promise<Buffer> =>
  bytesOf((await signProgram(await openScript(name, bytes), { key, timestamper: null })).content);

/** The status of a file, or the code with which it cannot be opened; and the codes of its problems. */
export async function judge(name: string, bytes: Buffer): Promise<string> {
  try {
    const { status, problems } = await verifySignableFile(await openScript(name, bytes));
    return [status, ...problems.map(({ code }) => code)].join(' ');
  } catch (error) {
    if (error instanceof SignpipeError) return error.code;
    throw error;
  }
}

/** The code with which a file is refused for signing, or `signed`. */
export async function tryToSign(name: string, bytes: Buffer, key: SigningKey): Promise<string> {
  try {
    await signScript(name, bytes, key);
    return 'signed';
  } catch (error) {
    if (error instanceof SignpipeError) return error.code;
    throw error;
  }
}
