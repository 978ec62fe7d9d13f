import { invalid } from '../../lib/errors.ts';
import { verifyCommitSignature, type CommitSigners } from '../../lib/git/commit-signature.ts';
import { objectId, parseCommit, shortId, type GitIdentity } from '../../lib/git/objects.ts';
import type { NewObject } from '../../lib/git/packfile.ts';
import { isBounded, jsonOrNull, repeatedKey } from '../../lib/json.ts';
import { HEARTBEAT_LIMIT, heartbeat, type Heartbeat } from './signer-health.ts';
import { signerName } from './signer-name.ts';
import { buildCommit, type BuiltCommit, type CommitSigner } from './write-commit.ts';

/** All refs of heartbeats: see "Heartbeats" in docs/protocol.md. */
export const HEALTH_REFS = 'refs/signpipe/health/';

/** The part of such a ref below `HEALTH_REFS`. */
export const isHealthName = (name: string): boolean => /^[0-9a-f]{16}$/.test(name);

const TITLE = 'signpipe health\n\n';
const EMPTY_TREE: NewObject = { type: 'tree', content: Buffer.alloc(0) };
const EMPTY_TREE_ID = objectId('tree', EMPTY_TREE.content);
/** More values than any heartbeat of 64 KiB that a signer writes. */
const MOST_VALUES = 8192;
/** How much later than announced the next heartbeat may be, in ms. */
const GRACE = 120_000;
/** How far a heartbeat may be ahead of the reader's clock, in ms. */
const AHEAD = 600_000;

/**
 * How a signer is, according to its newest heartbeat. `alive`: the next one is not due. `silent`: it is more than two
 * minutes late. `stopped`: the signer was stopped in order. `ahead`: written more than ten minutes ahead of the
 * reader's clock, which proves nothing.
 */
export type HeartbeatState = 'alive' | 'silent' | 'stopped' | 'ahead';

/** The newest heartbeat of one signer, with a valid signature of a trusted key. */
export interface SignerHeartbeat {
  readonly content: Heartbeat;
  /** `SHA256:` fingerprint of the receipt key. */
  readonly key: string;
  /** The name of the key in the reader's list. */
  readonly principal: string;
  readonly state: HeartbeatState;
}

const lengthOf = (content: Heartbeat): number => Buffer.byteLength(JSON.stringify(content));

/** Leaves out what is least needed, until the content is small enough. */
function fitted(content: Heartbeat): Heartbeat {
  const shorter: Heartbeat[] = [
    content,
    { ...content, waiting: content.waiting.slice(0, 20) },
    {
      ...content,
      waiting: content.waiting.slice(0, 20),
      channels: content.channels.map((channel) => ({ ...channel, authorities: [] })),
    },
  ];
  const small = shorter.find((each) => lengthOf(each) <= HEARTBEAT_LIMIT);
  return small ?? { ...content, waiting: [], channels: [] };
}

/** A heartbeat as Git objects, the commit last, and the commit's id. */
export async function buildHeartbeat(
  content: Heartbeat,
  { signer, identity }: { readonly signer: CommitSigner; readonly identity: GitIdentity },
): Promise<BuiltCommit> {
  const message = `${TITLE}${JSON.stringify(fitted(content))}\n`;
  const at = new Date(content.written);
  const commit = await buildCommit({ tree: EMPTY_TREE_ID, parents: [], identity, at, message }, signer);
  return {
    id: objectId('commit', commit),
    objects: [EMPTY_TREE, { type: 'commit', content: commit }],
  };
}

const malformed = (id: string, why: string): Error =>
  invalid('heartbeat-malformed', `commit ${shortId(id)} is no heartbeat: ${why}`, {
    hint: 'ask the operators of the signer and of the Git host who wrote it; it was ignored',
  });

/** The content of a heartbeat's message. */
function parseMessage(id: string, message: string): Heartbeat {
  const body = message.slice(TITLE.length);
  if (!message.startsWith(TITLE)) throw malformed(id, 'its message has another beginning');
  if (Buffer.byteLength(body) > HEARTBEAT_LIMIT + 1) throw malformed(id, 'it is too long');
  const parsed = isBounded(body, MOST_VALUES) ? heartbeat.safeParse(jsonOrNull(body)) : null;
  if (!parsed?.success || repeatedKey(body) !== null)
    throw malformed(id, 'its content is not as docs/protocol.md says');
  return parsed.data;
}

function stateOf({ written, every, ended }: Heartbeat, now: Date): HeartbeatState {
  const age = now.getTime() - Date.parse(written);
  if (age < -AHEAD) return 'ahead';
  if (ended) return 'stopped';
  return age > every * 1000 + GRACE ? 'silent' : 'alive';
}

/**
 * Reads a heartbeat from the raw commit in the ref `name` (below `HEALTH_REFS`). Throws `commit-…` unless a key of
 * `allowed`, valid now, signed it; `heartbeat-malformed`; and `heartbeat-misplaced` if it belongs to another ref, whose
 * key or content it shows in this one's place.
 */
export function parseHeartbeat(
  raw: Buffer,
  { name, allowed, now }: { readonly name: string; readonly allowed: CommitSigners; readonly now: Date },
): SignerHeartbeat {
  const { fingerprint, principal } = verifyCommitSignature(raw, allowed, { now });
  const { id, parents, tree, message } = parseCommit(raw);
  if (parents.length > 0 || tree !== EMPTY_TREE_ID) throw malformed(id, 'it has parents or files');
  const content = parseMessage(id, message);
  if (content.signer !== name || signerName(fingerprint) !== name)
    throw invalid(
      'heartbeat-misplaced',
      `commit ${shortId(id)} in ${HEALTH_REFS}${name} is a heartbeat by ${fingerprint}, whose ref is ${signerName(fingerprint)}`,
      { hint: 'ask the operator of the Git host who wrote this ref; it was ignored' },
    );
  return { content, key: fingerprint, principal, state: stateOf(content, now) };
}
