import { z } from 'zod';
import { commitId } from './commit-id.ts';

const time = z.iso.datetime();

const authority = z.object({
  url: z.string(),
  circuit: z.enum(['closed', 'open', 'half-open']),
  succeeded: z.int(),
  failed: z.int(),
  lastSuccess: time.nullable(),
  lastFailure: z.object({ at: time, code: z.string() }).nullable(),
  medianMs: z.number().nullable(),
});

/** How a channel of a signer is, in `health.json` and in heartbeats. */
export const channelHealth = z.object({
  name: z.string(),
  /** Of a service that replaces its certificate every few days only the subject. */
  certificate: z.object({
    subject: z.string(),
    sha256: z.string().optional(),
    notAfter: time.optional(),
  }),
  /** Why its key signs nothing now, as the code of an error: its certificate has expired, for example. */
  problem: z.object({ code: z.string() }).optional(),
  /** The next certificate, until it signs: when it takes over, and its end once it is open. */
  successor: z.object({ from: time, notAfter: time.optional(), open: z.boolean() }).optional(),
  waiting: z.object({ for: z.string(), since: time }).optional(),
  authorities: z.array(authority),
});

export type ChannelHealth = z.infer<typeof channelHealth>;

/** Something that lasts, by the code of its error. */
const lasting = z.object({ code: z.string().max(100), since: time });

/** What a signer does, in `health.json` and in heartbeats. */
export const signerActivity = z.object({
  alarm: lasting.optional(),
  problem: lasting.optional(),
  /** The request in hand; `done` of `of` programs, of the file that it works on. */
  current: z
    .object({
      request: commitId,
      stage: z.string().max(100),
      since: time,
      file: z.string().max(255).optional(),
      done: z.int().nonnegative().optional(),
      of: z.int().nonnegative().optional(),
    })
    .optional(),
  /** Unanswered requests and why they wait, oldest first. */
  waiting: z.array(z.object({ request: commitId, code: z.string().max(100), since: time })).max(100),
});

export type SignerActivity = z.infer<typeof signerActivity>;

/** The content of a heartbeat: see "Heartbeats" in docs/protocol.md. Readers ignore keys that they do not know. */
export const heartbeat = z.object({
  version: z.literal(1),
  /** The first 16 hex digits of the SHA-256 of the receipt key: the last part of the ref's name. */
  signer: z.string().regex(/^[0-9a-f]{16}$/),
  name: z.string().max(100),
  signpipe: z.string().max(100),
  written: time,
  /** After how many seconds at the latest the next heartbeat follows. */
  every: z.int().min(60).max(86_400),
  started: time,
  /** Whether the signer was stopped in order and wrote this last. */
  ended: z.boolean(),
  /** The heads that it accepted last. */
  heads: z.object({ requests: commitId.nullable(), receipts: commitId.nullable() }),
  ...signerActivity.shape,
  /** How many requests have no answer. */
  queue: z.int().nonnegative(),
  channels: z.array(channelHealth).max(100),
});

export type Heartbeat = z.infer<typeof heartbeat>;

/** The largest content of a heartbeat, in bytes. */
export const HEARTBEAT_LIMIT = 65_536;
