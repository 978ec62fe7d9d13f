import type { SignableFile, SignatureScheme } from '../formats/signable-file.ts';
import { authenticode } from './cms-scheme.ts';

/** The kind of a file's signatures. */
export const schemeOf = ({ scheme }: Pick<SignableFile, 'scheme'>): SignatureScheme => scheme ?? authenticode;
