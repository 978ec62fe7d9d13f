import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { resolveCommand } from '../../lib/command/resolve-command.ts';
import { resolveKey } from '../../engine/keys/key-uri.ts';
import { describeKey, KEY_SETTINGS, type KeySettings } from '../../engine/keys/open.ts';
import { SignpipeError } from '../../lib/errors.ts';
import { commandLine } from './command-line.ts';
import { duration, path, resolvePaths, type ResolvePath } from './common-sections.ts';

const VARIABLE = /^(?!SIGNPIPE_)[A-Za-z_]\w{0,199}$/;

/** The settings that name a key; `KEY_SETTINGS` lists them. */
export const keyShape = {
  pfx: path.optional(),
  certificate: path.optional(),
  key: path.optional(),
  keyName: z.string().optional(),
  passphraseFile: path.optional(),
  command: commandLine.optional(),
  commandEnvironment: z
    .array(z.string().regex(VARIABLE, "must be the name of a variable, and not one of signpipe's own"))
    .max(100)
    .optional(),
  concurrency: z.int().min(1).max(256).optional(),
  keyTimeout: duration
    .refine((ms) => ms > 0 && ms <= 3_600_000, 'must be longer than 0, and at most 1h: 60s')
    .optional(),
};

/** The key and certificate that follow those in use. */
export const successor = z
  .strictObject({
    ...keyShape,
    from: z
      .union([z.iso.date(), z.iso.datetime({ offset: true })], {
        error: ({ input }) =>
          `${input === undefined ? 'is missing: give' : 'must be'} a day, such as 2027-03-01 (from 00:00 UTC), or a time, such as 2027-03-01T06:00:00Z`,
      })
      .transform((text) => new Date(text)),
  })
  .superRefine((value, context) => requireOneKey(value, context, { section: 'signing.successor' }));

type WithSuccessor = KeySettings & { readonly successor?: KeySettings | undefined };

/** Reports what is wrong with the settings of a key. `section` is what errors name instead of `signing`. */
export function requireOneKey(
  signing: KeySettings,
  context: z.RefinementCtx,
  { path = [], section = 'signing' }: { readonly path?: string[]; readonly section?: string } = {},
): void {
  try {
    describeKey(signing);
  } catch (error) {
    if (!(error instanceof SignpipeError)) throw error;
    context.addIssue({
      code: 'custom',
      path,
      message: `${error.message}: ${error.hint}`.replaceAll('signing.', `${section}.`),
    });
  }
}

/** Refuses a successor that is the key in use itself. */
export function requireOtherKey(signing: WithSuccessor, context: z.RefinementCtx, path: string[] = []): void {
  const { successor: next } = signing;
  if (next && KEY_SETTINGS.every((name) => isDeepStrictEqual(next[name], signing[name])))
    context.addIssue({
      code: 'custom',
      path: [...path, 'successor'],
      message: 'names the same key and certificate as signing itself: it must name the next ones',
    });
}

/** Makes the paths of key settings absolute; the key may be a URI. */
function resolveKeyPaths<T extends KeySettings>(settings: T, resolve: ResolvePath): T {
  const { key, command, ...others } = settings;
  return {
    ...(resolvePaths(others, resolve) as T),
    ...(key === undefined ? {} : { key: resolveKey(key, resolve) }),
    ...(command === undefined ? {} : { command: resolveCommand(command, resolve) }),
  };
}

/** Makes the paths of a section `signing` absolute. */
export function resolveSigning<T extends WithSuccessor>(signing: T, resolve: ResolvePath): T {
  const { successor: next } = signing;
  const resolved = resolveKeyPaths(signing, resolve);
  return next ? { ...resolved, successor: resolveKeyPaths(next, resolve) } : resolved;
}
