import { SignpipeError, usage, type ErrorDetails } from '../../../lib/errors.ts';
import { printable } from '../../../lib/printable.ts';
import { KeyUnavailable } from '../signing-key.ts';
import type { ModuleFault } from './module-calls.ts';

/** The sessions or the token are gone: another login, in another process, can help. */
const LOST = new Set([
  'CKR_SESSION_HANDLE_INVALID',
  'CKR_SESSION_CLOSED',
  'CKR_DEVICE_REMOVED',
  'CKR_DEVICE_ERROR',
  'CKR_TOKEN_NOT_PRESENT',
  'CKR_TOKEN_NOT_RECOGNIZED',
  'CKR_USER_NOT_LOGGED_IN',
  'CKR_KEY_HANDLE_INVALID',
  'CKR_OBJECT_HANDLE_INVALID',
  'CKR_CRYPTOKI_NOT_INITIALIZED',
  'CKR_GENERAL_ERROR',
  'CKR_FUNCTION_FAILED',
  'CKR_DEVICE_MEMORY',
  'CKR_HOST_MEMORY',
  'CKR_SESSION_COUNT',
  // An operation that failed before left it so; the session is of no use any more.
  'CKR_OPERATION_ACTIVE',
]);

/** A call that the module refused, by the name of its CK_RV. */
export class ModuleCallError extends KeyUnavailable {
  constructor(
    readonly rv: string,
    message: string,
    details?: ErrorDetails,
  ) {
    super('token-failed', message, details);
  }
}

/** Whether another process with another login can succeed where this error came from. */
export const isLost = (error: unknown): boolean =>
  error instanceof ModuleCallError
    ? LOST.has(error.rv)
    : error instanceof KeyUnavailable && error.code === 'token-process';

/** How to install pkcs11js. */
const INSTALL =
  'install it in the folder of signpipe: npm install pkcs11js. It is compiled there, which needs a C++ compiler, make, python3 and the headers of Node; without a network, set npm_config_nodedir to the folder above include/node, such as /usr';

/** The error for what went wrong in the process of a module. No message holds a PIN, since no module repeats one. */
export function callError({ stage, rv, message }: ModuleFault, path: string): SignpipeError {
  const text = printable(message, 300);
  if (stage === 'package')
    return usage(
      'pkcs11-missing',
      `the package pkcs11js, which PKCS#11 keys need, cannot be loaded: ${text}`,
      {
        hint: INSTALL,
      },
    );
  if (stage === 'module')
    return usage('pkcs11-module', `${path}: cannot be loaded as a PKCS#11 module: ${text}`, {
      hint: 'give the path of the .so file of your token in module-path; it must fit the processor of this machine',
    });
  if (rv !== undefined)
    return new ModuleCallError(rv, `${path}: the PKCS#11 module reports ${text}`, {
      hint: 'look at the token and at the log of its module; signpipe doctor shows what the token has',
    });
  return new SignpipeError('local', 'token-error', `${path}: the PKCS#11 module cannot be used: ${text}`);
}
