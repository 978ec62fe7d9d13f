import { invalid, type SignpipeError } from '../../lib/errors.ts';

/** `provenance-differs`: the file contradicts what its provenance says of it. */
export const statementDiffers = (message: string): SignpipeError =>
  invalid('provenance-differs', message, {
    hint: 'the receipt key signed a statement that its own file contradicts: ask the operator of the signer',
  });
