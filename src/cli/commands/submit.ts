import { submit } from '../../app/builder/submit.ts';
import { withSession } from '../../app/builder/session.ts';
import { loadBuilderConfig } from '../../app/config/builder.ts';
import { atStop } from '../../lib/at-stop.ts';
import { compilePatterns } from '../../engine/artifact/globs.ts';
import { usage } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';
import { shellQuote } from '../../lib/ssh/quote.ts';
import { readNames } from '../read-names.ts';
import { progressFor } from '../output/progress-bars.ts';
import { print, printJson, sayUnlessQuiet, SIGNED_FILES } from '../output/terminal.ts';
import type { WaitingOptions } from './wait.ts';

interface SubmitCommandOptions extends WaitingOptions {
  readonly wait?: boolean;
  readonly dryRun?: boolean;
  readonly revision?: string;
  readonly channel?: string;
  readonly as?: string;
  readonly pack?: boolean;
  readonly sparse?: boolean;
  readonly files?: string[];
  readonly inPlace?: boolean;
  readonly list?: string;
}

/** `signpipe submit --in-place`: replaces files by their signed versions. */
async function submitInPlace(files: readonly string[], options: SubmitCommandOptions): Promise<number> {
  if (options.sparse || options.output !== undefined || options.pack === false || options.dryRun)
    throw usage(
      'in-place-options',
      '--in-place replaces the files: it has no --output, --sparse, --no-pack, --dry-run',
      {
        hint: 'leave them out',
      },
    );
  const say = sayUnlessQuiet(options);
  const reporting = { progress: await progressFor(options), say };
  return withSession(await loadBuilderConfig(options.config), reporting, async (session) => {
    const { signInPlace } = await import('../../app/builder/in-place/sign-in-place.ts');
    const explain = (request: string): void => {
      const command = `signpipe cancel -c ${shellQuote(options.config)} ${request}`;
      process.prependOnceListener('SIGINT', () =>
        say(`stopped; no file was replaced. To withdraw the request: ${command}`),
      );
    };
    const { revision, channel, as, timeout, allowTestCertificate: allowTest = false } = options;
    const result = await signInPlace(session, files, {
      revision,
      channel,
      as,
      timeout,
      allowTest,
      onRequest: explain,
    });
    const { request, commit } = result;
    const replaced = result.files.map(({ target, status }) => ({ path: target.given, status }));
    if (options.json) printJson({ request, receipt: commit, files: replaced });
    else for (const { path, status } of replaced) print(`${status} ${printable(path)}`);
    return 0;
  });
}

/** `signpipe submit --dry-run`: shows what the signer would do. */
async function showPlan(files: readonly string[], options: SubmitCommandOptions): Promise<number> {
  const say = sayUnlessQuiet(options);
  const reporting = { progress: await progressFor(options), say };
  return withSession(await loadBuilderConfig(options.config), reporting, async (session) => {
    const { planSubmission } = await import('../../app/builder/plan-submission.ts');
    const { plannedJson, plannedStatus, plannedText } = await import('../output/plan-text.ts');
    const { published, channel, files: planned } = await planSubmission(session, files, options);
    if (!published)
      say(
        `the signer has published no policy for the channel ${channel} that is trusted here: planned with the defaults`,
      );
    if (options.json) printJson({ channel, published, files: planned.map(plannedJson) });
    else for (const file of planned) print(plannedText(file));
    return plannedStatus(planned);
  });
}

/**
 * For a process that a signal ends while it pushes a request: the request may have arrived, so its id has to be known if it
 * is to be withdrawn. `reach` registers what prints the id in that case, `passed` takes it back.
 */
function onStopInPush(report: (id: string) => void): { reach: (id: string) => void; passed: () => void } {
  let takeBack: (() => void) | undefined;
  const passed = (): void => takeBack?.();
  const reach = (id: string): void => {
    takeBack?.();
    takeBack = atStop(() => report(id));
  };
  return { reach, passed };
}

/** `signpipe submit`: uploads files, requests their signatures and prints the request's id. */
export async function submitCommand(named: string[], options: SubmitCommandOptions): Promise<number> {
  const files = [...named, ...(options.list === undefined ? [] : await readNames(options.list))];
  if (files.length === 0)
    throw usage('submit-nothing', 'no file was named', { hint: 'give files, a folder, or --list FILE' });
  if (options.inPlace) return submitInPlace(files, options);
  if (options.dryRun && options.wait)
    throw usage('dry-run-wait', '--dry-run requests nothing that --wait could wait for');
  if (options.dryRun) return showPlan(files, options);
  const say = sayUnlessQuiet(options);
  const reporting = { progress: await progressFor(options), say };
  const result = (id: string): void => (options.json ? printJson({ request: id }) : print(id));
  const pushing = onStopInPush((id) =>
    options.wait ? say(`stopped while request ${id} was being pushed; it may have been made`) : result(id),
  );
  return withSession(await loadBuilderConfig(options.config), reporting, async (session) => {
    const request = await submit(session, files, {
      onPush: pushing.reach,
      revision: options.revision,
      channel: options.channel,
      as: options.as,
      pack: options.pack,
      output: options.wait ? (options.output ?? SIGNED_FILES) : undefined,
      sparse: options.sparse
        ? { isMeant: options.files && compilePatterns(options.files), limits: session.config.limits }
        : undefined,
    });
    pushing.passed();
    if (options.wait) {
      say(`request ${request}`);
      const { waitAndPrint } = await import('./wait.ts');
      const originals = options.sparse ? files : [];
      return await waitAndPrint(session, request, options, { originals, justMade: true });
    }
    result(request);
    return 0;
  });
}
