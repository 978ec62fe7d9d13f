/** Signs with the command key of the arguments `PROGRAM CERTIFICATE` when no file can be opened any more, and then again. */
import { closeSync, openSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { openCommandKey } from '../../../../src/engine/keys/command/command-key.ts';
import { SignpipeError } from '../../../../src/lib/errors.ts';

const [program = '', certificate = ''] = process.argv.slice(2);

function takeAllDescriptors(): number[] {
  const taken: number[] = [];
  for (;;)
    try {
      taken.push(openSync('/dev/null', 'r'));
    } catch {
      return taken;
    }
}

const key = await openCommandKey({ command: [program], certificate, warn: () => undefined });
await key.sign('sha256', Buffer.from('loads what is loaded late'));
const taken = takeAllDescriptors();
const freed = delay(200).then(() => taken.forEach((descriptor) => closeSync(descriptor)));
await key.sign('sha256', Buffer.from('data')).then(
  () => console.log('signed'),
  (error: unknown) => console.log(error instanceof SignpipeError ? `${error.kind} ${error.code}` : error),
);
await freed;
