import { tmpdir } from 'node:os';
import { basename } from 'node:path';
import type { PlannedFile } from '../../app/builder/plan-submission.ts';
import { loadSignerConfig } from '../../app/config/signer.ts';
import { compilePatterns } from '../../engine/artifact/globs.ts';
import type { FindOptions } from '../../engine/artifact/inside/file-to-sign.ts';
import { planOrKeep } from '../../engine/artifact/plan-or-keep.ts';
import type { AlreadySigned, InsidePolicy } from '../../engine/artifact/signed-artifact.ts';
import { DEFAULT_FILES } from '../../engine/formats/program-names.ts';
import { isRefused, SignpipeError, usage } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';
import { DEFAULT_LIMITS } from '../../lib/zip/limits.ts';
import { withFlagNames } from '../output/flag-names.ts';
import { plannedJson, plannedStatus, plannedText } from '../output/plan-text.ts';
import { print, printJson, type CommonOptions } from '../output/terminal.ts';

interface PlanCommandOptions extends CommonOptions {
  readonly config?: string;
  readonly channel?: string;
  readonly files?: string[];
  readonly alreadySigned?: AlreadySigned;
  readonly inside?: InsidePolicy;
  readonly json?: boolean;
}

type PlanOptions = FindOptions & { readonly acceptOthers: boolean };

/** What `sign` would do with the same flags: a program named on the command line is signed whatever its name. */
function optionsOfFlags({ files, alreadySigned = 'keep', inside, channel }: PlanCommandOptions): PlanOptions {
  if (channel !== undefined)
    throw usage('channel-without-config', '--channel names a channel of a configuration: give --config too');
  const isOurs = compilePatterns(files ?? DEFAULT_FILES);
  return {
    isOurs,
    isOursAlone: files === undefined ? () => true : (path) => isOurs(basename(path)),
    alreadySigned,
    inside,
    acceptOthers: false,
    limits: DEFAULT_LIMITS,
    scratch: tmpdir(),
  };
}

/** What a signer with this configuration would do; flags take the place of its settings. */
async function optionsOfConfig(path: string, options: PlanCommandOptions): Promise<PlanOptions> {
  const { channels, limits } = await loadSignerConfig(path);
  const { channel: name = 'default' } = options;
  const channel = channels.get(name);
  if (!channel)
    throw usage('channel-not-configured', `${path}: it has no channel "${printable(name)}"`, {
      hint: `it has ${[...channels.keys()].join(', ')}`,
    });
  const { signing } = channel;
  return {
    isOurs: compilePatterns(options.files ?? signing.files),
    alreadySigned: options.alreadySigned ?? signing.alreadySigned,
    inside: options.inside ?? signing.inside,
    acceptOthers: signing.others === 'checksum',
    limits,
    scratch: tmpdir(),
  };
}

async function plannedFile(
  path: string,
  options: PlanOptions,
  reworded: (error: unknown) => unknown,
): Promise<PlannedFile> {
  try {
    return { name: path, plan: await planOrKeep(path, path, options) };
  } catch (error) {
    const refused = reworded(error);
    if (!isRefused(refused) || !(refused instanceof SignpipeError)) throw refused;
    return { name: path, refused };
  }
}

/** `signpipe plan`: shows what signing would do to files, and does nothing. */
export async function planCommand(paths: string[], options: PlanCommandOptions): Promise<number> {
  const { config } = options;
  const planOptions = config === undefined ? optionsOfFlags(options) : await optionsOfConfig(config, options);
  const reworded = config === undefined ? withFlagNames : (error: unknown) => error;
  const files: PlannedFile[] = [];
  for (const path of paths) files.push(await plannedFile(path, planOptions, reworded));
  if (options.json) printJson({ files: files.map(plannedJson) });
  else for (const file of files) print(plannedText(file));
  return plannedStatus(files);
}
