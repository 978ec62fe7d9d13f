import { certificateOf, objectUri } from '../../../engine/keys/pkcs11/find-key.ts';
import { tokenName, tokenUri } from '../../../engine/keys/pkcs11/find-token.ts';
import { listTokens, type ListedModule, type ListedToken } from '../../../engine/keys/pkcs11/list-tokens.ts';
import { KEY_TYPE, type TokenInfo } from '../../../engine/keys/pkcs11/module-calls.ts';
import { installedModules, modulePath } from '../../../engine/keys/pkcs11/module-path.ts';
import { encodeValue, pathOf } from '../../../engine/keys/pkcs11/write-uri.ts';
import { OID } from '../../../lib/asn1/oids.ts';
import { SignpipeError, usage } from '../../../lib/errors.ts';
import { printable } from '../../../lib/printable.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { certificateFindings, type CertificateFinding } from '../../../lib/x509/certificate-findings.ts';

/** Where `init` looks for a key on a token. */
export interface TokenSearch {
  /** The path of the module; all modules in the usual folders if left out. */
  readonly module?: string | undefined;
  /** Asks a person for a token's PIN; resolves to undefined if there is no person. */
  readonly ask: (what: string, secret?: string) => Promise<string | undefined>;
}

/** A key on a token that can sign programs. */
export interface TokenKeyChoice {
  /** The value of `signing.key`. */
  readonly uri: string;
  /** Names the key and its certificate, for a person. */
  readonly what: string;
  /** What its owner should know about the certificate. */
  readonly findings: readonly CertificateFinding[];
}

export interface FoundTokenKeys {
  readonly keys: readonly TokenKeyChoice[];
  /** A sentence for each module or token that could not be looked into; if no key was found, also for each token without one. */
  readonly problems: readonly string[];
}

/** A private key, or a certificate for code signing if the token shows no private keys without its PIN. */
interface Candidate {
  readonly label: string;
  readonly id: Buffer;
  readonly certificate: Certificate | undefined;
}

function candidatesOn({ keys, certificates, notLoggedIn }: ListedToken): Candidate[] {
  if (keys.length > 0 || !notLoggedIn)
    return keys
      .filter(({ signs, type }) => signs && (type === KEY_TYPE.rsa || type === KEY_TYPE.ec))
      .map((key) => ({ label: key.label, id: key.id, certificate: certificateOf(key, certificates) }));
  return certificates
    .filter(({ id, certificate }) => id.length > 0 && certificate.extendedKeyUsage?.includes(OID.codeSigning))
    .map(({ id, certificate }) => ({ label: '', id, certificate }));
}

/** The path of a URI for a token: its label, with the serial number if another token has the same. */
function tokenPath(token: TokenInfo, present: readonly TokenInfo[]): string {
  const alone = present.filter(({ label }) => label === token.label).length === 1;
  return (alone && pathOf([['token', token.label]])) || tokenUri(token);
}

function choicesOf({ path, present, tokens }: ListedModule): TokenKeyChoice[] {
  return tokens.flatMap((listed) =>
    candidatesOn(listed).map((candidate) => ({
      uri: `pkcs11:${tokenPath(listed.token, present)};${objectUri(candidate)}?module-path=${encodeValue(path)}&pin-source=file:keys/pin`,
      what: `${tokenName(listed.token)}: ${candidate.certificate === undefined ? 'no certificate on the token' : printable(candidate.certificate.commonName, 60)}`,
      findings: candidate.certificate ? certificateFindings(candidate.certificate) : [],
    })),
  );
}

/** Why a token did not show its private keys, unless no PIN was given. */
const loginProblems = ({ tokens }: ListedModule): string[] =>
  tokens.flatMap(({ notLoggedIn }) =>
    notLoggedIn && notLoggedIn.code !== 'pin-missing' ? [notLoggedIn.message] : [],
  );

/** Why a module has no key: no token is there, or what each of its tokens lacks. */
function whyNone({ path, tokens }: ListedModule): string[] {
  if (tokens.length === 0) return [`${path}: no token is there`];
  return tokens.map(({ token, notLoggedIn }) =>
    notLoggedIn
      ? `${tokenName(token)}: no key was found by its certificate; with the PIN the token may show more`
      : `${tokenName(token)}: it has no private key that signs with RSA or ECDSA`,
  );
}

/** Asks for the PIN of each token, so that it shows its private keys. */
const listWith = (module: string, { ask }: TokenSearch): Promise<ListedModule> =>
  listTokens({
    module,
    environment: [],
    pinFor: async (token) => {
      const pin = await ask(`token ${tokenName(token)} (or Enter, to look only at its certificates)`, 'PIN');
      if (pin !== undefined && pin !== '') return { pin, attended: true };
      throw usage('pin-missing', `token ${tokenName(token)}: no PIN was given`);
    },
  });

/**
 * Looks for keys on tokens. Throws `pkcs11-module` and `pkcs11-missing` (usage), and for a module that is named whatever
 * it throws.
 */
export async function findTokenKeys(search: TokenSearch): Promise<FoundTokenKeys> {
  if (search.module !== undefined)
    return tokenKeysOf([await listWith(await modulePath({ path: search.module }), search)]);
  const listed: ListedModule[] = [];
  const problems: string[] = [];
  // One after another: two modules can be for the same token.
  for (const path of await installedModules())
    try {
      listed.push(await listWith(path, search));
    } catch (error) {
      if (!(error instanceof SignpipeError) || error.code === 'pkcs11-missing') throw error;
      problems.push(error.message);
    }
  return tokenKeysOf(listed, problems);
}

function tokenKeysOf(listed: readonly ListedModule[], problems: readonly string[] = []): FoundTokenKeys {
  const keys = listed.flatMap(choicesOf);
  const none = keys.length > 0 ? [] : listed.flatMap(whyNone);
  return { keys, problems: [...problems, ...listed.flatMap(loginProblems), ...none] };
}
