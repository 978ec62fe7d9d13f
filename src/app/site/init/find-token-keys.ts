import { objectUri } from '../../../engine/keys/pkcs11/find-key.ts';
import { tokenName, tokenUri } from '../../../engine/keys/pkcs11/find-token.ts';
import { listTokens, type ListedModule, type ListedToken } from '../../../engine/keys/pkcs11/list-tokens.ts';
import { KEY_TYPE, type TokenInfo } from '../../../engine/keys/pkcs11/module-calls.ts';
import { installedModules, modulePath } from '../../../engine/keys/pkcs11/module-path.ts';
import { encodeValue } from '../../../engine/keys/pkcs11/uri.ts';
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
  readonly ask: (what: string) => Promise<string | undefined>;
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
  /** A sentence for each module that could not be looked into. */
  readonly problems: readonly string[];
}

/** A private key, or a certificate for code signing if the token shows no private keys without its PIN. */
interface Candidate {
  readonly label: string;
  readonly id: Buffer;
  readonly certificate: Certificate | undefined;
}

const sameId = (one: { readonly id: Buffer }, other: { readonly id: Buffer }): boolean =>
  one.id.equals(other.id);

function candidatesOn({ keys, certificates, notLoggedIn }: ListedToken): Candidate[] {
  const certificateOf = (id: Buffer): Certificate | undefined =>
    certificates.find((each) => id.length > 0 && sameId(each, { id }))?.certificate;
  if (keys.length > 0 || !notLoggedIn)
    return keys
      .filter(({ signs, type }) => signs && (type === KEY_TYPE.rsa || type === KEY_TYPE.ec))
      .map(({ label, id }) => ({ label, id, certificate: certificateOf(id) }));
  return certificates
    .filter(({ id, certificate }) => id.length > 0 && certificate.extendedKeyUsage?.includes(OID.codeSigning))
    .map(({ id, certificate }) => ({ label: '', id, certificate }));
}

/** The path of a URI for a token: its label, with the serial number if another token has the same. */
function tokenPath(token: TokenInfo, present: readonly TokenInfo[]): string {
  const alone = present.filter(({ label }) => label === token.label).length === 1;
  return alone && token.label !== '' ? `token=${encodeValue(token.label)}` : tokenUri(token);
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

/** Asks for the PIN of each token, so that it shows its private keys. */
const listWith = (module: string, { ask }: TokenSearch): Promise<ListedModule> =>
  listTokens({
    module,
    environment: [],
    pinFor: async (token) => {
      const pin = await ask(`token ${tokenName(token)} (its PIN; nothing: only look at its certificates)`);
      if (pin !== undefined && pin !== '') return { pin, attended: true };
      throw usage('pin-missing', `token ${tokenName(token)}: no PIN was given`);
    },
  });

/**
 * Looks for keys on tokens. Throws `pkcs11-module` and `pkcs11-missing` (usage), and for a module that is named whatever
 * it throws.
 */
export async function findTokenKeys(search: TokenSearch): Promise<FoundTokenKeys> {
  if (search.module !== undefined) {
    const path = await modulePath({ path: search.module });
    return { keys: choicesOf(await listWith(path, search)), problems: [] };
  }
  const keys: TokenKeyChoice[] = [];
  const problems: string[] = [];
  // One after another: two modules can be for the same token.
  for (const path of await installedModules())
    try {
      keys.push(...choicesOf(await listWith(path, search)));
    } catch (error) {
      if (!(error instanceof SignpipeError) || error.code === 'pkcs11-missing') throw error;
      problems.push(error.message);
    }
  return { keys, problems };
}
