/** How encrypted packages (.emsix, .eappx) and encrypted bundles begin; they are no zips. */
const MARKS: readonly string[] = ['EXPH', 'EXBH'];

/** Whether a file with these first bytes is an encrypted package or bundle. */
export const isEncrypted = (head: Buffer): boolean => MARKS.includes(head.toString('latin1', 0, 4));
