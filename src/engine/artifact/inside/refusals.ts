import { invalid, notAllowed, type SignpipeError } from '../../../lib/errors.ts';

/** The error, with what else its reader can do: a zip in a zip need not be opened. */
export function withExclusion(error: SignpipeError): SignpipeError {
  const exclude = 'exclude the container from signing.files with "!"';
  if (error.hint?.includes('exclude') === true) return error;
  return error.saying(error.message, error.hint === undefined ? exclude : `${error.hint}; or ${exclude}`);
}

/** Only programs can be ours: a text named x.exe is refused before anything is signed. */
export const notAProgram = (name: string): SignpipeError =>
  invalid('not-a-program', `${name}: signing.files names it, but it is no file that can be signed`, {
    hint: 'exclude it from signing.files with "!", or build it again',
  });

export const insideFixed = (name: string, why: string): SignpipeError =>
  notAllowed('inside-fixed', `${name}: ${why}, so it cannot be replaced by its signed form`, {
    hint: 'sign it before it is packed, pack it in another way (docs/formats.md), or exclude it from signing.files with "!"',
  });
