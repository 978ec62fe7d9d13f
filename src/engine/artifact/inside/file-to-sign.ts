import type { Container } from '../../formats/container.ts';
import type { SignableFile } from '../../formats/signable-file.ts';
import type { SignArtifactOptions } from '../signed-artifact.ts';
import type { UnpackedProgram } from '../unpacked-programs.ts';
import type { Place } from './place.ts';

/** The options that decide what is signed, without those that say how. */
export type FindOptions = Pick<
  SignArtifactOptions,
  | 'alreadySigned'
  | 'inside'
  | 'roots'
  | 'timestampRoots'
  | 'isOurs'
  | 'isOursAlone'
  | 'limits'
  | 'scratch'
  | 'pins'
>;

/** A file of ours that is to be signed, or a zip that is packed again because files in it are signed. */
export interface FileToSign extends UnpackedProgram, Place, ToSignInside {
  /** The file, open; null if it is a zip. */
  readonly file: SignableFile | null;
}

/** What is to be signed inside of a file, before the file itself. */
export interface ToSignInside {
  /** The container that they are in; null if there is nothing. */
  readonly container: Container | null;
  readonly members: readonly FileToSign[];
}

/** How many signatures will be made. */
export const countToSign = (files: readonly FileToSign[]): number =>
  files.reduce((sum, { file, members }) => sum + (file ? 1 : 0) + countToSign(members), 0);
