import { invalid, type SignpipeError } from '../errors.ts';

/** The error for a cabinet whose parts contradict each other. */
export const corruptCabinet = (name: string, why: string): SignpipeError =>
  invalid('cab-corrupt', `${name}: a broken cabinet: ${why}`, { hint: 'make the cabinet again' });

/** The error for a data block whose content is damaged. */
export const damagedData = (name: string, why: string): SignpipeError =>
  invalid('cab-data-corrupt', `${name}: ${why}`, { hint: 'make the cabinet again' });
