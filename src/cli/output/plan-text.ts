import { basename } from 'node:path';
import { shownPlace, type Place } from '../../engine/artifact/inside/place.ts';
import type { RequestPlan } from '../../engine/artifact/plan-or-keep.ts';
import type { PlannedFile } from '../../app/builder/plan-submission.ts';
import { plural } from '../../lib/plural.ts';
import { printable } from '../../lib/printable.ts';
import { describeKept, describeLeftAlone } from './kept-program-text.ts';

const ACTIONS = { sign: 'sign', pack: 'pack again' } as const;

function summary({ kind, entries, steps }: RequestPlan): string {
  if (kind === 'other') return 'stays as it is: nothing in it can be signed';
  const signatures = steps.filter(({ action }) => action === 'sign').length;
  const of = kind === 'zip' ? ` in a zip of ${plural(entries, 'file')}` : '';
  return `${plural(signatures, 'signature')}${of}`;
}

/** What would be done to a file: each step in its order, then what is kept or left alone, and why. */
function planLines(name: string, plan: RequestPlan): string[] {
  const shown = (place: Place): string => printable(place.path === '' ? basename(name) : shownPlace(place));
  const width = String(plan.steps.length).length;
  return [
    `${printable(name)}: ${summary(plan)}`,
    ...plan.steps.map(
      (step, index) =>
        `  ${String(index + 1).padStart(width)}  ${ACTIONS[step.action]} ${shown(step)} (${step.format}, ${step.size} bytes)`,
    ),
    ...plan.kept.map((kept) => `  ${shown(kept)}  ${describeKept(kept)}`),
    ...plan.leftAlone.map((left) => `  ${shown(left)}  ${describeLeftAlone(left)}`),
    ...plan.unsignedInside.map(
      (place) => `  ${shown(place)}  stays unsigned: a program inside of a container`,
    ),
  ];
}

/** The plan of one file for people, or why it would be refused. */
export function plannedText(file: PlannedFile): string {
  if ('plan' in file) return planLines(file.name, file.plan).join('\n');
  const { code, message, hint } = file.refused;
  const lines = [`${printable(file.name)}: would be refused: ${printable(message)} [${code}]`];
  return (hint === undefined ? lines : [...lines, `  ${printable(hint)}`]).join('\n');
}

/** The same for programs. */
export function plannedJson(file: PlannedFile): object {
  if ('plan' in file) return { name: file.name, ...file.plan };
  const { code, message, hint } = file.refused;
  return { name: file.name, refused: { code, message, hint: hint ?? null } };
}

/** The exit status: that of the first refusal, or 0. */
export const plannedStatus = (files: readonly PlannedFile[]): number => {
  for (const file of files) if ('refused' in file) return file.refused.exitStatus;
  return 0;
};
