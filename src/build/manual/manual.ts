import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { withSubcommands, type CommandModel } from '../command-model.ts';
import { commandPage, pageName, type ManualContext } from './command-page.ts';
import { documentPage } from './document-page.ts';

/** Documents that are manual pages too. */
const DOCUMENTS = [
  {
    name: 'signpipe.yaml',
    section: 5,
    file: 'docs/configuration.md',
    summary: 'configuration of signers, builders, vouchers and couriers',
  },
  {
    name: 'signpipe-errors',
    section: 7,
    file: 'docs/errors.md',
    summary: 'the error codes of signpipe, and what to do',
  },
] as const;

/** All manual pages, by file name: one for each command, for the configuration, and for the error codes. */
export async function manualPages(
  root: string,
  program: CommandModel,
  context: ManualContext,
): Promise<Map<string, string>> {
  const pages = new Map<string, string>();
  for (const command of withSubcommands(program))
    pages.set(`${pageName(command)}.1`, commandPage(command, program, context));
  for (const { name, section, file, summary } of DOCUMENTS) {
    const text = await readFile(join(root, file), 'utf8');
    pages.set(`${name}.${section}`, documentPage({ name, section, ...context }, summary, text));
  }
  return pages;
}
