import { z } from 'zod';

/** Folders of the alphabet of names in zipname, in which `{request}` may stand, and `{name}` at the end. */
const TEMPLATE = /^(?:(?:[A-Za-z0-9_+@=]|\{request\})(?:[A-Za-z0-9._+@=-]|\{request\})*\/){0,8}\{name\}$/;
/** Characters of the folders once they are filled in; a name has at most 255. */
const LONGEST = 400;

/** Where a signed file goes, below the outgoing folder. */
export const delivered = z
  .string()
  .regex(TEMPLATE, 'must be {name}, or folders before it, such as {request}/{name}')
  .refine(
    (template) => deliveredPath(template, { request: '0'.repeat(40), name: '' }).length <= LONGEST,
    `must come to at most ${LONGEST} characters`,
  )
  .default('{name}');

/** The path of one file below the outgoing folder. `request` is the request's commit id. */
export const deliveredPath = (
  template: string,
  { request, name }: { request: string; name: string },
): string => template.replaceAll('{request}', request).replace(/\{name\}$/, () => name);

/** `{name}` alone replaces an unsigned file by its signed one; elsewhere both would stay. */
export function requireReplacing(
  { incoming, outgoing, delivered: template }: { incoming: string; outgoing: string; delivered: string },
  context: z.RefinementCtx,
): void {
  if (incoming !== outgoing || template === '{name}') return;
  context.addIssue({
    code: 'custom',
    path: ['delivered'],
    message: 'must be {name} where outgoing equals incoming: the signed file replaces the unsigned one',
  });
}
