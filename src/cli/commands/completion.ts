import { readFile } from 'node:fs/promises';
import { packageRoot } from '../../lib/package-root.ts';
import { print } from '../output/terminal.ts';

/** The scripts in `dist/completion/`, which the build generates from the command line. */
const SCRIPTS = { bash: 'signpipe.bash', zsh: '_signpipe', fish: 'signpipe.fish' } as const;

/** `signpipe completion SHELL` */
export async function completionCommand(shell: keyof typeof SCRIPTS): Promise<number> {
  const script = new URL(`dist/completion/${SCRIPTS[shell]}`, packageRoot);
  print((await readFile(script, 'utf8')).trimEnd());
  return 0;
}
