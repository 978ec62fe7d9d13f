import { z } from 'zod';

/** Folders with the characters that names in zipname may have or `{request}`, and `{name}` at the end. */
const TEMPLATE = /^(?:(?:[A-Za-z0-9_+@=]|\{request\})(?:[A-Za-z0-9._+@=-]|\{request\})*\/){0,8}\{name\}$/;
/** In characters, for the folders after `{request}` was replaced; a name has at most 255 more. */
const MAX_LENGTH = 400;

/** The template for the path of a signed file below the outgoing folder. */
export const delivered = z
  .string()
  .regex(TEMPLATE, 'must be {name}, or folders before it, such as {request}/{name}')
  .refine(
    (template) => deliveredPath(template, { request: '0'.repeat(40), name: '' }).length <= MAX_LENGTH,
    `must have at most ${MAX_LENGTH} characters after {request} was replaced`,
  )
  .default('{name}');

/** The path of one file below the outgoing folder. `request` is the request's commit id. */
export const deliveredPath = (
  template: string,
  { request, name }: { request: string; name: string },
): string => template.replaceAll('{request}', request).replace(/\{name\}$/, () => name);

/** If outgoing equals incoming, a template other than `{name}` is refused: the unsigned file would not be replaced. */
export function requireReplacing(
  { incoming, outgoing, delivered: template }: { incoming: string; outgoing: string; delivered: string },
  context: z.RefinementCtx,
): void {
  if (incoming !== outgoing || template === '{name}') return;
  context.addIssue({
    code: 'custom',
    path: ['delivered'],
    message: 'must be {name} if outgoing equals incoming: the signed file replaces the unsigned one',
  });
}
