import { invalid, notAllowed } from '../../lib/errors.ts';
import type { UnpackedProgram } from './unpacked-programs.ts';

/** Checks, before any program is read, that each of our programs is pinned, and that each pin is one of them. */
export function requirePinned(
  ours: readonly { readonly path: string }[],
  pins: ReadonlyMap<string, string>,
  name: string,
): void {
  for (const { path } of ours) requirePin(path, pins, `${name}!/${path}`);
  requireAllPinsFound(ours, pins, name);
}

function requirePin(path: string, pins: ReadonlyMap<string, string>, name: string): string {
  const pin = pins.get(path);
  if (pin !== undefined) return pin;
  throw notAllowed('entry-unpinned', `${name}: zipname pins entries of this zip, but not this one`, {
    hint: 'pin every program that is to be signed, or the zip as a whole',
  });
}

export function checkPin(
  path: string,
  program: UnpackedProgram,
  pins: ReadonlyMap<string, string> | undefined,
): void {
  if (!pins) return;
  const pin = requirePin(path, pins, program.source.name);
  if (pin !== program.sha256)
    throw invalid(
      'entry-digest-differs',
      `${program.source.name}: SHA-256 is ${program.sha256}, zipname says ${pin}`,
      { hint: 'upload the very bytes that were pinned, or commit their digest' },
    );
}

export function requireAllPinsFound(
  ours: readonly { readonly path: string }[],
  pins: ReadonlyMap<string, string> | undefined,
  name: string,
): void {
  const there = new Set(ours.map((entry) => entry.path));
  for (const path of pins?.keys() ?? []) {
    if (!there.has(path))
      throw invalid(
        'pinned-entry-missing',
        `${name}: zipname pins "${path}", which is not among the programs to sign in it`,
        { hint: 'check the path, and signing.files on the signer' },
      );
  }
}
