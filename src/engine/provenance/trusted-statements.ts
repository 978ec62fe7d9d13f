import { invalid, isRefused, notAllowed, type SignpipeError } from '../../lib/errors.ts';
import { parseEnvelope, preAuthEncoding, type Envelope } from '../../lib/dsse/envelope.ts';
import { isBounded, jsonOrNull, repeatedKey } from '../../lib/json.ts';
import { printable } from '../../lib/printable.ts';
import { isRefusal, type AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import type { SshPublicKey } from '../../lib/sshsig/public-key.ts';
import { verifyStandardSignature } from '../../lib/sshsig/standard-signature.ts';
import { SIGNING_PREDICATE, signingStatement, type SigningStatement } from './signing-statement.ts';
import { anyStatement, STATEMENT_PAYLOAD } from './statement.ts';
import { SUMMARY_PREDICATE, summaryStatement, type SummaryStatement } from './verification-summary.ts';

/** The most values in a statement: 15,000 signed programs take 375,000. */
const MAX_VALUES = 2_000_000;

/** The namespace in which a key of the allowed signers must be permitted: that of the receipts, which are Git commits. */
const NAMESPACE = 'git';

/** A Statement that an allowed key signed. */
export interface Trusted<Statement> {
  readonly statement: Statement;
  /** The name of the key in the allowed signers. */
  readonly principal: string;
  /** `SHA256:` fingerprint of the key. */
  readonly key: string;
  /** Counted from 1. */
  readonly line: number;
}

/** What was found in a file of envelopes. */
export interface TrustedStatements {
  readonly signing: readonly Trusted<SigningStatement>[];
  readonly summaries: readonly Trusted<SummaryStatement>[];
  /** Lines that do not count, and why. Anyone can add such lines, so they spoil nothing. */
  readonly ignored: readonly { readonly line: number; readonly error: SignpipeError }[];
}

type KeysById = ReadonlyMap<string, SshPublicKey>;

/** The listed keys whose signatures over the envelope verify: at least one. */
function keysOf(
  { signatures, payloadType, payload }: Envelope,
  keys: KeysById,
  what: string,
): SshPublicKey[] {
  if (signatures.length === 0) throw notAllowed('provenance-unsigned', `${what} has no signature`);
  const data = preAuthEncoding(payloadType, payload);
  const listed = signatures.flatMap(({ keyid, value }) => {
    const key = keys.get(keyid);
    return key ? [{ key, value }] : [];
  });
  const signed = listed.filter(({ key, value }) => verifyStandardSignature(key, value, data));
  if (signed.length > 0) return signed.map(({ key }) => key);
  const [first] = listed;
  if (first)
    throw invalid(
      'provenance-signature-wrong',
      `${what} does not have the contents that ${first.key.fingerprint} signed`,
      {
        hint: 'the file was altered after it was signed: get it from the signer again, or from the receipt',
      },
    );
  const ids = signatures.map(({ keyid }) => (keyid === '' ? 'a key without an id' : printable(keyid, 100)));
  throw notAllowed(
    'provenance-signer-unknown',
    `${what} is signed by ${ids.join(', ')}, which is not listed`,
    {
      hint: 'list the signer’s receipt key, if it is this one; signer.json on the receipt branch names it',
    },
  );
}

/** The first of the keys that may sign receipts at a time; throws `provenance-signer-refused` if none may. */
function signerAmong(
  keys: readonly SshPublicKey[],
  allowed: AllowedSigners,
  at: string,
  what: string,
): { readonly principal: string; readonly key: string } {
  const refusals: string[] = [];
  for (const key of keys) {
    const permission = allowed.find(key, NAMESPACE, new Date(at), { securityKey: null });
    if (!isRefusal(permission)) return { principal: permission.principal, key: key.fingerprint };
    refusals.push(`${key.fingerprint}, which ${permission.detail}`);
  }
  throw notAllowed('provenance-signer-refused', `${what} is signed by ${refusals.join('; and by ')}`, {
    hint: 'judged at the time in the envelope, for the namespace git, as for receipts',
  });
}

function malformed(what: string, why: string): SignpipeError {
  return invalid('provenance-malformed', `${what}: ${why}`, {
    hint: 'it is signed by an allowed key: was it written by a later version of signpipe?',
  });
}

type KnownStatement = { readonly signing: SigningStatement } | { readonly summary: SummaryStatement };

/** Parses the payload of an envelope whose signature was verified; null if the predicate is of another type. */
function parseStatement(payload: Buffer, what: string): KnownStatement | null {
  const text = payload.toString('utf8');
  const isReadable = Buffer.from(text).equals(payload) && isBounded(text, MAX_VALUES);
  const json = isReadable ? jsonOrNull(text) : null;
  const head = anyStatement.safeParse(json);
  if (!head.success) throw malformed(what, 'its payload is not an in-toto Statement v1');
  const repeated = repeatedKey(text);
  if (repeated !== null) throw malformed(what, `its payload has the key ${JSON.stringify(repeated)} twice`);
  const { predicateType } = head.data;
  const parsed =
    predicateType === SIGNING_PREDICATE
      ? signingStatement.transform((signing) => ({ signing })).safeParse(json)
      : predicateType === SUMMARY_PREDICATE
        ? summaryStatement.transform((summary) => ({ summary })).safeParse(json)
        : null;
  if (!parsed) return null;
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw malformed(what, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`);
}

/** The known Statement on a line, with who signed it; null for other types. Throws why the line does not count. */
function readLine(text: string, line: number, keys: KeysById, allowed: AllowedSigners) {
  const what = `line ${line}`;
  const envelope = parseEnvelope(text, what);
  if (envelope.payloadType !== STATEMENT_PAYLOAD)
    throw invalid(
      'provenance-payload-type',
      `${what} has a payload of the type ${printable(envelope.payloadType, 100)}, not ${STATEMENT_PAYLOAD}`,
    );
  const signedBy = keysOf(envelope, keys, what);
  const known = parseStatement(envelope.payload, what);
  if (!known) return null;
  const at = 'signing' in known ? known.signing.predicate.times.signed : known.summary.predicate.timeVerified;
  return { known, signed: { ...signerAmong(signedBy, allowed, at, what), line } };
}

/**
 * The Statements of known types in envelopes that an allowed key signed. As the specification of bundles demands, their
 * order does not matter, and lines that cannot be trusted or understood do not spoil the others.
 */
export function trustedStatements(lines: readonly string[], allowed: AllowedSigners): TrustedStatements {
  const listed = allowed.signers.filter(({ certAuthority }) => !certAuthority);
  const keys = new Map(listed.map(({ key }) => [key.fingerprint, key]));
  const found = {
    signing: [] as Trusted<SigningStatement>[],
    summaries: [] as Trusted<SummaryStatement>[],
    ignored: [] as { line: number; error: SignpipeError }[],
  };
  for (const [index, text] of lines.entries())
    try {
      const read = readLine(text, index + 1, keys, allowed);
      if (!read) continue;
      const { known, signed } = read;
      if ('signing' in known) found.signing.push({ statement: known.signing, ...signed });
      else found.summaries.push({ statement: known.summary, ...signed });
    } catch (error) {
      if (!isRefused(error)) throw error;
      found.ignored.push({ line: index + 1, error });
    }
  return found;
}
