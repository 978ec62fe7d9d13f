/**
 * The script of the process that a PKCS#11 module is loaded into: modules are native code of others, which can crash, or
 * hang for good in a call. It ends with the signer, also while the module hangs.
 */
import { Worker } from 'node:worker_threads';
import { messageOf } from '../../../lib/errors.ts';
import { LoadedModule, LoadError } from './loaded-module.ts';
import { PARENT_VARIABLE, type CallMessage, type ModuleFault, type ReplyMessage } from './module-calls.ts';

/** Ends this process when its parent is gone: a thread, since a call of the module blocks the event loop. */
const WATCH_PARENT = `
  const { workerData } = require('node:worker_threads');
  setInterval(() => { if (process.ppid !== workerData) process.kill(process.pid, 'SIGKILL'); }, 500);`;

const RV = /^CKR_\w+$/;

function faultOf(error: unknown): ModuleFault {
  const message = messageOf(error);
  if (error instanceof LoadError) return { stage: error.stage, message };
  if (!RV.test(message)) return { message };
  const code = error instanceof Error && 'code' in error ? Number(error.code) : 0;
  return { rv: message, message: `${message} (0x${code.toString(16)})` };
}

const module = new LoadedModule();

async function reply({ id, name, argument }: CallMessage): Promise<ReplyMessage> {
  try {
    const call = module[name].bind(module) as (argument: unknown) => unknown;
    return { id, result: await call(argument) };
  } catch (error) {
    return { id, fault: faultOf(error) };
  }
}

const workerData = Number(process.env[PARENT_VARIABLE]);
const watcher = new Worker(WATCH_PARENT, { eval: true, workerData, execArgv: [], env: {} });
watcher.unref();
// A stop of the signer reaches this process too, but the signer finishes its request first.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
process.on('message', (message: CallMessage) => {
  void reply(message).then((answer) => process.send?.(answer));
});
