import { z } from 'zod';

const argument = z
  .string({ error: 'must be a text: write quotes around it' })
  .max(4096)
  .regex(/^[^\0]*$/, 'must not contain a NUL character');

/** A program and its arguments, run without a shell. Its paths are not made absolute yet: see `resolveCommand`. */
export const commandLine = z
  .tuple([argument.min(1, 'must name a program')], argument, {
    error: 'must be a list: [PROGRAM, ARGUMENT, …]',
  })
  .refine((words) => words.length <= 100, 'has too many arguments');
