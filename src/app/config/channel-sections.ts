import { z } from 'zod';
import { DEFAULT_FILES } from '../../engine/formats/program-names.ts';
import { checksums } from './checksums.ts';
import { duration, path, timestampRoots } from './common-sections.ts';
import { keyShape, requireOneKey, requireOtherKey, successor } from './key-settings.ts';
import { timestampAuthorities } from './timestamp-authorities.ts';

const glob = z.string().min(1).max(1000);

const signingShape = {
  ...keyShape,
  successor: successor.optional(),
  digest: z.enum(['sha256', 'sha384', 'sha512']),
  files: z.array(glob).min(1, 'must name at least one pattern'),
  alreadySigned: z.enum(['keep', 'replace', 'append', 'reject']),
  inside: z.enum(['sign', 'require-signed', 'report', 'ignore']),
  others: z.enum(['checksum', 'reject']),
  pageHashes: z.boolean('must be true or false'),
  timestamp: timestampAuthorities,
  timestampTimeout: duration.refine((ms) => ms > 0, 'must be longer than 0: 15s'),
  roots: path.optional(),
  timestampRoots: timestampRoots.optional(),
  name: z.string().max(200).optional(),
  url: z.string().max(500).optional(),
};

const trustShape = {
  allowedSigners: path.optional(),
  revokedKeys: path.optional(),
  unsignedRequests: z.enum(['reject', 'accept']),
  pins: z.enum(['require', 'accept-unpinned']),
  vouches: z.int().min(0).max(50),
  delay: duration,
  requesters: z.array(z.string().min(1)).min(1),
  names: z.array(glob).min(1),
};

/** The section `signing`: which key signs what, and how. */
export const signing = z
  .strictObject({
    ...signingShape,
    digest: signingShape.digest.default('sha256'),
    files: signingShape.files.default([...DEFAULT_FILES]),
    alreadySigned: signingShape.alreadySigned.default('keep'),
    inside: signingShape.inside.default('report'),
    others: signingShape.others.default('reject'),
    pageHashes: signingShape.pageHashes.default(false),
    timestampTimeout: signingShape.timestampTimeout.default(15_000),
  })
  .superRefine((value, context) => requireOneKey(value, context))
  .superRefine((value, context) => requireOtherKey(value, context));

/** The section `trust`: who may request, and under which conditions. */
export const trust = z.strictObject({
  ...trustShape,
  unsignedRequests: trustShape.unsignedRequests.default('reject'),
  pins: trustShape.pins.default('require'),
  vouches: trustShape.vouches.default(0),
  delay: trustShape.delay.default(0),
  requesters: trustShape.requesters.default(['*']),
  names: trustShape.names.default(['**']),
});

/** What a channel has of its own; the rest it inherits. */
export const channel = z.strictObject({
  signing: z.strictObject(signingShape).partial().default({}),
  trust: z.strictObject(trustShape).partial().default({}),
  checksums: z.union([z.literal(false), checksums]).optional(),
  provenance: z.boolean('must be true or false').optional(),
});

/** The section `signing` of a channel: which key signs what, and how. */
export type SigningConfig = z.output<typeof signing>;

/** The section `trust` of a channel: who may request, and under which conditions. */
export type TrustConfig = z.output<typeof trust>;

/** What a channel has of its own. */
export type ChannelOverrides = z.output<typeof channel>;
