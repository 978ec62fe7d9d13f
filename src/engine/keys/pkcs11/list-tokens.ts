import { SignpipeError } from '../../../lib/errors.ts';
import { findToken, fitsToken } from './find-token.ts';
import { parsedCertificates, type ListedCertificate } from './find-key.ts';
import { findPin, logIn, type Pin } from './login.ts';
import type { ModuleInfo, TokenInfo, TokenKey } from './module-calls.ts';
import { modulePath } from './module-path.ts';
import { CALL_MS, ModuleProcess } from './module-process.ts';
import { parsePkcs11Uri } from './uri.ts';

/** A token and what is on it. */
export interface ListedToken {
  readonly token: TokenInfo;
  /** CKM_ numbers of its mechanisms. */
  readonly mechanisms: readonly number[];
  /** Why there was no login; undefined after one, and for a token that needs none. */
  readonly notLoggedIn: SignpipeError | undefined;
  /** The private keys, most of which a token shows only after a login. */
  readonly keys: readonly TokenKey[];
  readonly certificates: readonly ListedCertificate[];
}

export interface ListedModule {
  /** The path of the module. */
  readonly path: string;
  readonly info: ModuleInfo;
  /** All tokens that are there. */
  readonly present: readonly TokenInfo[];
  /** Those of them that were wanted. */
  readonly tokens: readonly ListedToken[];
}

interface ListOptions {
  /** The path of the module. */
  readonly module: string;
  /** The longest time for one call of the module, in ms. */
  readonly callMs?: number;
  readonly environment: readonly string[];
  /** Whether to look into a token; all unless given. */
  readonly wanted?: (token: TokenInfo) => boolean;
  /** The PIN of a token that needs one, of those that are there. Throws a usage error if there is none, or if it is not to be tried. */
  readonly pinFor: (token: TokenInfo, present: readonly TokenInfo[]) => Promise<Pin>;
}

async function listToken(
  process: ModuleProcess,
  token: TokenInfo,
  options: ListOptions & { readonly present: readonly TokenInfo[] },
): Promise<ListedToken> {
  await process.call('openSessions', { slot: token.slot, count: 1 });
  const notLoggedIn = await tryLogIn(process, token, options);
  return {
    token,
    mechanisms: await process.call('mechanisms', token.slot),
    notLoggedIn,
    keys: await process.call('keys', { label: undefined, id: undefined }),
    certificates: parsedCertificates(await process.call('certificates', undefined)),
  };
}

async function tryLogIn(
  process: ModuleProcess,
  token: TokenInfo,
  { pinFor, present }: ListOptions & { readonly present: readonly TokenInfo[] },
): Promise<SignpipeError | undefined> {
  try {
    await logIn(process, token, () => pinFor(token, present));
    return undefined;
  } catch (error) {
    if (error instanceof SignpipeError && error.kind === 'usage') return error;
    throw error;
  }
}

/**
 * Lists the tokens of a module and what is on them, each after a login if its PIN can be had. Throws usage errors of the
 * module (`pkcs11-missing`, `pkcs11-module`), and `KeyUnavailable`.
 */
export async function listTokens(options: ListOptions): Promise<ListedModule> {
  const { module: path, callMs = CALL_MS, environment, wanted = () => true } = options;
  const { process, info } = await ModuleProcess.start({ path, callMs, environment, threads: 1 });
  try {
    const present = await process.call('tokens', undefined);
    const tokens: ListedToken[] = [];
    for (const token of present.filter(wanted))
      tokens.push(await listToken(process, token, { ...options, present }));
    return { path, info, present, tokens };
  } finally {
    await process.close();
  }
}

/**
 * Lists the tokens that a URI selects, logged in with the PIN from its file; to none of several, as they would count it as
 * a wrong one. Throws `pkcs11-uri`, and as `listTokens`.
 */
export async function listTokensOf(uri: string): Promise<ListedModule> {
  const { module, tokenSelection, environment, callMs, pinFile: file } = parsePkcs11Uri(uri);
  return listTokens({
    module: await modulePath(module),
    ...(callMs !== undefined && { callMs }),
    environment,
    wanted: (token) => fitsToken(token, tokenSelection),
    pinFor: async (_, present) =>
      findPin(findToken(present, tokenSelection), { file, ask: undefined, warn: () => {} }),
  });
}
