/** RFC 4648, 4, with its padding. */
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Decodes base64, in one line or several. Returns undefined for anything else, and for nothing. */
export function decodeBase64(text: string): Buffer | undefined {
  const joined = text.replaceAll(/[\r\n]/g, '');
  return joined !== '' && BASE64.test(joined) ? Buffer.from(joined, 'base64') : undefined;
}
