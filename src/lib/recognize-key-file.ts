/** The format of a file that was given as a key, and what its owner can do with it. */
interface KeyFormat {
  /** Completes "FILE is ...". */
  readonly what: string;
  /** For the owner who wants to sign programs with it. */
  readonly hint: string;
  /** For the owner who wants to log in or sign commits with it; absent if it cannot be used for that. */
  readonly sshHint?: string;
}

interface KnownFormat extends KeyFormat {
  readonly is: (bytes: Buffer, text: string) => boolean;
}

const beginsWith =
  (hex: string) =>
  (bytes: Buffer): boolean =>
    bytes.subarray(0, hex.length / 2).toString('hex') === hex;

/** The beginning of the body of a DER SEQUENCE, if `bytes` begin with one. */
function sequenceBody(bytes: Buffer): Buffer | null {
  if (bytes[0] !== 0x30) return null;
  const length = bytes[1] ?? 0;
  return bytes.subarray(length < 0x80 ? 2 : 2 + (length & 0x7f), 64);
}

/** SEQUENCE { INTEGER version, ... }: 3 in PKCS #12 (RFC 7292, 4), 0 or 1 in private keys. */
const hasVersion = (bytes: Buffer, ...versions: number[]): boolean => {
  const body = sequenceBody(bytes);
  return body !== null && body[0] === 2 && body[1] === 1 && versions.includes(body[2] ?? -1);
};

/** The body of the SEQUENCE that a SEQUENCE begins with. */
const nestedBody = (bytes: Buffer): Buffer | null => sequenceBody(sequenceBody(bytes) ?? Buffer.alloc(0));

const OID_TAG = 6;

const JAVA_HINT =
  'convert it: keytool -importkeystore -srckeystore FILE -destkeystore NEW.p12 -deststoretype PKCS12';

const PKCS12: KnownFormat = {
  is: (bytes, text) => hasVersion(bytes, 3) || text.includes('-----BEGIN PKCS12-----'),
  what: 'a PKCS#12 file (.pfx, .p12)',
  hint: 'give it as signing.pfx',
};

/** The first entry that matches counts. */
const KNOWN: readonly KnownFormat[] = [
  { is: beginsWith('feedfeed'), what: 'a Java key store (JKS)', hint: JAVA_HINT },
  { is: beginsWith('cececece'), what: 'a Java key store (JCEKS)', hint: `${JAVA_HINT} -srcstoretype JCEKS` },
  {
    is: beginsWith('1ef1b5b0'),
    what: 'a private key in PVK, an older format of Microsoft',
    hint: 'convert it: openssl rsa -inform PVK -in FILE -out NEW.pem; give that with its certificate as PEM',
  },
  {
    is: (_bytes, text) => /^PuTTY-User-Key-File-\d/.test(text),
    what: 'a key of PuTTY (.ppk)',
    hint: 'SSH keys do not sign programs: name the key that belongs to the code-signing certificate',
    sshHint: 'convert it: puttygen FILE -O private-openssh -o NEW',
  },
  {
    is: (_bytes, text) => text.includes('-----BEGIN OPENSSH PRIVATE KEY-----'),
    what: 'an SSH key in the format of OpenSSH',
    hint: 'SSH keys do not sign programs: name the key that belongs to the code-signing certificate',
  },
  {
    is: (_bytes, text) => /^(?:ssh|ecdsa|sk)-[a-z0-9@.-]+ AAAA/.test(text),
    what: 'the public half of an SSH key (.pub)',
    hint: 'SSH keys do not sign programs: name the key that belongs to the code-signing certificate',
    sshHint: 'name the private key file, which has the same name without .pub',
  },
  {
    is: (_bytes, text) => /-----BEGIN PGP /.test(text),
    what: 'an OpenPGP key',
    hint: 'OpenPGP keys are not used here: make a key of the kind that is required',
  },
  {
    is: (_bytes, text) => /-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----/.test(text),
    what: 'a private key in PEM',
    hint: 'give it as signing.key, and its certificate chain as signing.certificate',
    sshHint: 'rewrite it in the format of OpenSSH: ssh-keygen -p -f FILE',
  },
  {
    is: (_bytes, text) => text.includes('-----BEGIN CERTIFICATE REQUEST-----'),
    what: 'a request for a certificate',
    hint: 'name the certificate that the authority issued for it',
  },
  {
    is: (_bytes, text) => /-----BEGIN (?:CERTIFICATE|PKCS7|CMS)-----/.test(text),
    what: 'a certificate, without a private key',
    hint: 'the private key is in another file: give both as PEM, or export them together as PKCS#12',
  },
  PKCS12,
  {
    is: (bytes) => hasVersion(bytes, 0, 1),
    what: 'a private key in DER',
    hint: 'convert it to PEM: openssl pkey -inform DER -in FILE -out NEW.pem',
  },
  {
    is: (bytes) => nestedBody(bytes)?.[0] === OID_TAG,
    what: 'an encrypted private key in DER',
    hint: 'convert it to PEM: openssl pkcs8 -inform DER -in FILE -out NEW.pem',
  },
  {
    is: (bytes) => nestedBody(bytes)?.subarray(0, 2).toString('hex') === 'a003',
    what: 'a certificate in DER, without a private key',
    hint: 'the private key is in another file: give both as PEM, or export them together as PKCS#12',
  },
  { is: beginsWith('504b0304'), what: 'a zip', hint: 'unpack it, and name the key file in it' },
];

/** Recognises the format of a key file by its first bytes or its text; null if it is unknown. */
export function keyFormatOf(bytes: Buffer): KeyFormat | null {
  const text = textOf(bytes) ?? '';
  return KNOWN.find(({ is }) => is(bytes, text)) ?? null;
}

export const isPkcs12 = (format: KeyFormat | null): boolean => format === PKCS12;

const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * The text of a small file that people edit, without a byte order mark: UTF-8, or UTF-16 as editors and PowerShell's
 * `>` on Windows write it, which begins with that mark. Null if it is neither.
 */
export function textOf(bytes: Buffer): string | null {
  const mark = bytes.subarray(0, 2).toString('hex');
  try {
    if (mark === 'fffe') return new TextDecoder('utf-16le', { fatal: true }).decode(bytes);
    if (mark === 'feff') return new TextDecoder('utf-16le', { fatal: true }).decode(swapped(bytes));
    return utf8.decode(bytes);
  } catch {
    return null;
  }
}

/** Big-endian UTF-16 as little-endian; Node may be built without a decoder for the former. */
const swapped = (bytes: Buffer): Buffer =>
  Buffer.from(bytes.subarray(0, bytes.length - (bytes.length % 2))).swap16();

/**
 * A PEM text with line feeds only and one at its end, as OpenSSL and OpenSSH require. Bytes that are not text are kept
 * as they are: PEM may be surrounded by other data.
 */
export const pemText = (bytes: Buffer): string =>
  `${(textOf(bytes) ?? bytes.toString('latin1')).replace(/\r\n?/g, '\n').trimEnd()}\n`;
