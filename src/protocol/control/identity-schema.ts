import { z } from 'zod';

const text = z.string().max(4096);

/** The identity of a signing certificate: see `CertificateIdentity`. */
export const identitySchema = z.union([z.object({ eku: text }), z.object({ subject: text, issuer: text })]);
