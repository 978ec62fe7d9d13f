import { z } from 'zod';
import { commitId } from './commit-id.ts';
import { identitySchema } from './identity-schema.ts';
import type { RequestedFile } from './zipname.ts';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const text = z.string().max(4096);
const size = z.int().min(0);
const time = z.iso.datetime();

const path = z.string().max(65535);
/** Named by a later version too: readers take any word. */
const word = z.string().max(32);

const contents = z.object({ size: size.describe('bytes'), sha256 });

/** The containers within a file that were opened to reach a path in the last of them. */
const inside = z.array(path).max(16).optional();

const signedEntry = z.object({
  path: path.describe(
    'the file in the zip, or in the last container; empty for a lone program or container itself',
  ),
  inside: inside.describe(
    'containers within the file that were opened to reach `path`, outermost first; empty if the file itself holds it',
  ),
  format: word.optional().describe('pe, msi, cab and so on, or what a later version adds; pe if absent'),
  scheme: word.optional().describe('authenticode, nuget-author or opc, or what a later version adds'),
  before: contents,
  after: contents,
  digest: z
    .object({
      algorithm: word,
      value: z
        .string()
        .regex(/^(?:[0-9a-f]{2}){32,1024}$/)
        .describe('hex'),
    })
    .optional()
    .describe('what was signed'),
  authenticode: z
    .object({
      algorithm: z.enum(['sha256', 'sha384', 'sha512']),
      digest: z
        .string()
        .regex(/^(?:[0-9a-f]{2}){32,1024}$/)
        .describe(
          'hex, the Authenticode digest that was signed; of a package, several digests one after another',
        ),
    })
    .describe('the same as `digest`, as version 1 has it'),
  timestamp: z
    .object({ time, authority: text.describe('subject of the authority’s certificate'), url: text })
    .nullable()
    .describe('null only with a test certificate'),
  certificate: sha256
    .optional()
    .describe(
      'SHA-256 of the certificate of this signature, if a service issued it for a few days; if absent, that of the receipt',
    ),
  signature: z
    .string()
    .regex(/^signatures\/[0-9a-f]{64}(?:\.[0-9a-z]{1,16}){1,2}$/)
    .describe(
      'the detached signature in this commit, by the SHA-256 of the unsigned bytes, for formats that are known only by name also by the extension; `.p7` is PKCS #7 in DER',
    ),
});

const attachments = z
  .array(
    z.object({
      name: z.string().max(255).describe('as `output.name`, below the same folder'),
      kind: word.describe('sha256sums, openpgp, ssh, minisign, provenance, or what a later version adds'),
      size,
      sha256,
    }),
  )
  .max(100)
  .optional();

const file = z.object({
  input: z.object({ name: z.string().max(255), size: size.optional(), sha256: sha256.optional() }),
  output: z
    .object({
      name: z.string().max(255),
      path: z
        .string()
        .max(800)
        .optional()
        .describe('where it lies below the outgoing folder; under its name if absent'),
      size,
      sha256: sha256.optional().describe('absent only where the signer did not see the whole of it'),
    })
    .optional(),
  entries: z.int().min(0).describe('files in the zip; 1 for a lone program'),
  signed: z.array(signedEntry),
  kept: z
    .array(
      z.object({
        path,
        inside: inside.describe('as in `signed`'),
        signer: text.describe('subject of the certificate, which anyone can choose'),
        certificate: sha256.optional().describe('SHA-256 of the certificate'),
        trusted: z
          .boolean()
          .nullable()
          .optional()
          .describe('whether the signatures lead to signing.roots; null if the signer has no such roots'),
      }),
    )
    .describe('ours by policy, but signed already, and left as they were'),
  leftAlone: z
    .array(
      z.object({
        path,
        inside: inside.describe('as in `signed`'),
        why: z
          .string()
          .max(64)
          .describe('apple-double, nested-zip, not-opened, or what a later version adds'),
      }),
    )
    .optional()
    .describe('entries left as they were that could be mistaken for signed ones; the first hundred'),
  unsignedInside: z
    .array(z.object({ path, inside: inside.describe('as in `signed`') }))
    .optional()
    .describe('programs without a signature in containers that were looked into; the first hundred'),
  attachments: attachments.describe(
    'files delivered beside the output; in this commit as attachments/SHA256',
  ),
  seen: z
    .enum(['whole', 'entries'])
    .optional()
    .describe('whether the signer read every byte of the zip, or its directory and the entries it signed'),
});

/** The version of `receipt.json` that this program writes. Version 2 adds keys and changes none of version 1. */
export const RECEIPT_VERSION = 2;

/** `receipt.json`, versions 1 and 2. Readers ignore unknown keys. Keys of version 2 are optional for readers. */
export const receiptSchema = z.object({
  version: z.literal([1, RECEIPT_VERSION]),
  signpipe: z.string().max(64).describe('version of the program that wrote this'),
  signer: z
    .object({ name: text, key: text.describe('SHA256: fingerprint of the key that signs receipts') })
    .optional()
    .describe('who wrote this receipt'),
  request: z.object({
    id: commitId,
    signer: text.nullable().describe('principal whose key signed the request; null if it is not signed'),
    key: text.nullable().describe('SHA256: fingerprint of that key'),
    requestedAt: time,
    sourceRevision: text.optional(),
    channel: text,
  }),
  outcome: z.enum(['signed', 'rejected', 'failed']),
  reason: z.object({ code: z.string().max(128), message: text, hint: text.optional() }).optional(),
  repeats: z
    .object({
      request: commitId.describe('the request that was answered'),
      receipt: commitId.optional().describe('its receipt; absent if the request lies before control.since'),
    })
    .optional()
    .describe(
      'with reason request-repeated: the same signed payload was answered before, under another commit id',
    ),
  test: z.boolean().describe('signed with a test certificate'),
  certificate: z
    .object({ subject: text, issuer: text, serial: text, sha256, notBefore: time, notAfter: time })
    .optional(),
  identity: identitySchema
    .optional()
    .describe(
      'what stays the same when the certificate is renewed: its durable identity EKU, or subject and issuer',
    ),
  vouches: z.array(z.object({ name: text, signer: text, key: text, commit: commitId })),
  files: z.array(file).max(100),
  attachments: attachments.describe('files delivered that are about all files of the request'),
  times: z.object({
    requested: time,
    seen: time,
    fetched: time.optional(),
    signed: time.optional(),
    delivered: time.optional(),
    answered: time,
  }),
  zlib: z.string().max(64).optional().describe('version of zlib that deflated the signed entries'),
});

export type Receipt = z.infer<typeof receiptSchema>;
export type ReceiptFile = z.infer<typeof file>;
export type ReceiptEntry = z.infer<typeof signedEntry>;
export type Attachment = NonNullable<ReceiptFile['attachments']>[number];

/** Everything that was delivered beside the files of a receipt. */
export const attachmentsOf = ({
  files,
  attachments: common = [],
}: Pick<Receipt, 'attachments'> & { files: readonly ReceiptFile[] }): Attachment[] => [
  ...files.flatMap((each) => each.attachments ?? []),
  ...common,
];

/** A requested file as a receipt states it if nothing in it was signed. */
export const fileWithoutSignatures = ({
  name,
  sha256,
}: Pick<RequestedFile, 'name' | 'sha256'>): Pick<ReceiptFile, 'input' | 'entries'> & {
  signed: never[];
  kept: never[];
} => ({
  input: { name, ...(sha256 === undefined ? {} : { sha256 }) },
  entries: 0,
  signed: [],
  kept: [],
});

/** Whether a file was delivered as it came, which `signing.others: checksum` permits for files that cannot be signed. */
export const isUnchanged = ({ input, output, signed }: ReceiptFile): boolean =>
  signed.length === 0 && output?.sha256 !== undefined && output.sha256 === input.sha256;

/**
 * How many programs of a file were signed: those that it holds itself, itself among them, and those in containers. Readers
 * of version 1 know only the former.
 */
export function countSigned({
  signed,
}: {
  readonly signed: readonly Pick<ReceiptEntry, 'path' | 'inside'>[];
}): { own: number; inside: number } {
  const isLone = signed.some(({ path: each }) => each === '');
  const own = signed.filter(({ path: each, inside: containers = [] }) =>
    isLone ? each === '' : containers.length === 0,
  ).length;
  return { own, inside: signed.length - own };
}

/** The file name of a program's detached signature in the folder `signatures` of the receipt. */
export const signatureName = ({ signature }: Pick<ReceiptEntry, 'signature'>): string =>
  signature.slice('signatures/'.length);

const isSameDigest = ({ digest, authenticode }: ReceiptEntry): boolean =>
  digest?.algorithm === authenticode.algorithm && digest.value === authenticode.digest;

/** What is wrong with a receipt beyond its shape, or null. */
export function receiptProblem(receipt: Receipt): string | null {
  if (receipt.outcome !== 'signed') return receipt.reason ? null : `is ${receipt.outcome} without a reason`;
  if (receipt.files.length === 0) return 'is signed, yet names no file';
  if (receipt.files.some((f) => !f.output)) return 'is signed, yet a file has no output';
  if (!receipt.certificate && !receipt.files.every(isUnchanged)) return 'is signed without a certificate';
  if (receipt.files.some((f) => f.seen !== 'entries' && f.output?.sha256 === undefined))
    return 'lacks the SHA-256 of a file that was seen as a whole';
  if (receipt.files.some((f) => f.signed.length === 0 && !isUnchanged(f)))
    return 'has a file in which nothing was signed, yet which was changed';
  const entries = receipt.files.flatMap((f) => f.signed);
  if (entries.some((e) => !e.signature.startsWith(`signatures/${e.before.sha256}.`)))
    return 'names a signature otherwise than by the SHA-256 of the unsigned bytes';
  if (entries.some((e) => e.digest && !isSameDigest(e))) return 'has two digests for one program';
  if (!receipt.test && entries.some((e) => e.timestamp === null))
    return 'has no timestamp, yet is not of a test certificate';
  return null;
}

/** The JSON Schema (2020-12) of `receipt.json`, as docs/receipt.schema.json holds it. */
export function receiptJsonSchema(): string {
  const schema = {
    $id: 'https://signpipe.invalid/receipt.schema.json',
    title: 'signpipe receipt',
    ...z.toJSONSchema(receiptSchema, { io: 'input', target: 'draft-2020-12' }),
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}
