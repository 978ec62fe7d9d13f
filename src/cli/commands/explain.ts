import { openSite, readSite } from '../../app/overview/sources/site.ts';
import type { CloneStatusOptions } from '../../app/overview/sources/clone-status.ts';
import { explainCode } from '../../app/overview/story/error-code.ts';
import type { RequestStory } from '../../app/overview/story/request-story.ts';
import { usage } from '../../lib/errors.ts';
import { withRepository } from '../../protocol/control/with-repository.ts';
import { codeText, storyText } from '../output/story-text.ts';
import { print, printJson, sayUnlessQuiet, type CommonOptions } from '../output/terminal.ts';

interface ExplainCommandOptions extends CommonOptions, CloneStatusOptions {
  readonly config?: string;
  readonly repo?: string;
  readonly requests: string;
  readonly receipts: string;
  readonly json?: boolean;
}

/** The story by a configuration, whose clone is brought up to date before. */
async function storyOfSite(
  config: string,
  id: string,
  options: ExplainCommandOptions,
): Promise<RequestStory> {
  const { readStory } = await import('../../app/overview/story/read-story.ts');
  const { repository, keys, refresh } = await openSite(await readSite(config), sayUnlessQuiet(options));
  try {
    await refresh();
    return await readStory(repository, id, await keys());
  } finally {
    repository.close();
  }
}

async function storyOfClone(id: string, options: ExplainCommandOptions): Promise<RequestStory> {
  const { allowedSigners, receiptSigners } = options;
  if (allowedSigners === undefined)
    throw usage(
      'status-signers-missing',
      'whose signatures count? The repository itself cannot decide that',
      {
        hint: 'give -c with a configuration, or --repo with --allowed-signers',
      },
    );
  const { readStory } = await import('../../app/overview/story/read-story.ts');
  const { listedKeys } = await import('../../app/overview/sources/fetching-status.ts');
  const keys = await listedKeys({ allowedSigners, receiptSigners });
  return withRepository(options.repo ?? '.', options, (repository) => readStory(repository, id, keys));
}

/** Hex digits of at least the length that git abbreviates ids to. */
const isId = (text: string): boolean => /^[0-9a-f]{7,40}$/i.test(text);

/**
 * `signpipe explain`: the story of a request, from Git alone, or what an error code means. For a request the exit status
 * is 3 if its receipt is not signed by a trusted key.
 */
export async function explainCommand(what: string, options: ExplainCommandOptions): Promise<number> {
  if (!isId(what)) {
    const code = await explainCode(what);
    if (options.json) printJson({ version: 1, ...code });
    else print(codeText(code));
    return 0;
  }
  const story = await (options.config === undefined
    ? storyOfClone(what, options)
    : storyOfSite(options.config, what, options));
  if (options.json) printJson({ version: 1, ...story });
  else print(storyText(story));
  return story.answer && !story.answer.proven ? 3 : 0;
}
