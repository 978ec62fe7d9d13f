/**
 * What the process with a PKCS#11 module does for the signer: the messages between the two. Messages are structured clones
 * over the channel of node:child_process, so that no PIN is in an argument or a variable of the process.
 */

/** The variable with the id of the parent process, at whose end the process of a module ends too. */
export const PARENT_VARIABLE = 'SIGNPIPE_PARENT';

/** A token as its module describes it (CK_TOKEN_INFO and CK_SLOT_INFO), without padding. */
export interface TokenInfo {
  /** The handle of its slot, and the same as a number. */
  readonly slot: Buffer;
  readonly slotId: number;
  readonly slotDescription: string;
  readonly slotManufacturer: string;
  readonly label: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly serial: string;
  /** CKF_ flags; see `TOKEN_FLAG`. */
  readonly flags: number;
  /** The most sessions of one program; undefined if there is no limit, or the token does not say. */
  readonly maxSessions: number | undefined;
}

/** A private key on a token, with what is known of its public key. */
export interface TokenKey {
  readonly handle: Buffer;
  readonly label: string;
  readonly id: Buffer;
  /** CKK_ number. */
  readonly type: number;
  /** CKA_SIGN; true if the token does not say. */
  readonly signs: boolean;
  /** CKA_ALWAYS_AUTHENTICATE: the PIN is needed for each signature. */
  readonly alwaysAuthenticate: boolean;
  /** CKA_MODULUS of an RSA key. */
  readonly modulus: Buffer | undefined;
  /** CKA_EC_PARAMS of an EC key: the DER of its curve's OID. */
  readonly ecParams: Buffer | undefined;
  /** CKA_EC_POINT of the public key with the same CKA_ID. */
  readonly ecPoint: Buffer | undefined;
}

/** An X.509 certificate on a token, not parsed. */
export interface TokenCertificate {
  readonly label: string;
  readonly id: Buffer;
  readonly der: Buffer;
}

export interface ModuleInfo {
  readonly description: string;
  readonly manufacturer: string;
  readonly version: { readonly major: number; readonly minor: number };
}

/** The calls by name: from one argument to a result. Handles are valid within one process only. */
export interface ModuleCalls {
  /** Loads and initializes the module; must be the first call. */
  load(path: string): ModuleInfo;
  /** The tokens that are there and initialized. */
  tokens(): TokenInfo[];
  /** The CKM_ numbers of a token's mechanisms. */
  mechanisms(slot: Buffer): number[];
  /** Opens up to `count` sessions with one token, in which all that follows happens; returns how many it got. */
  openSessions(options: { readonly slot: Buffer; readonly count: number }): number;
  /** Logs in as the user; without a PIN the token asks for it on its own keypad. */
  login(pin: string | undefined): void;
  /** The private keys with this label and id; all if they are undefined. */
  keys(search: { readonly label: string | undefined; readonly id: Buffer | undefined }): TokenKey[];
  certificates(): TokenCertificate[];
  /** Signs in a session of its own; waits until one is free. */
  sign(request: SignRequest): Promise<Buffer>;
  /** Logs out and finalizes the module. */
  close(): void;
}

export interface SignRequest {
  readonly key: Buffer;
  /** CKM_ number. */
  readonly mechanism: number;
  readonly data: Buffer;
  /** For a key with CKA_ALWAYS_AUTHENTICATE: the PIN, or undefined if the token asks for it on its own keypad. */
  readonly authenticate?: { readonly pin: string | undefined } | undefined;
}

export type CallName = keyof ModuleCalls;
export type CallArgument<N extends CallName> = Parameters<ModuleCalls[N]>[0];
export type CallResult<N extends CallName> = Awaited<ReturnType<ModuleCalls[N]>>;

export interface CallMessage {
  readonly id: number;
  readonly name: CallName;
  readonly argument: unknown;
}

export type ReplyMessage = { readonly id: number } & (
  | { readonly result: unknown }
  | { readonly fault: ModuleFault }
);

/** What went wrong in the module's process. */
export interface ModuleFault {
  /** Of a call of the module: the name of its CK_RV, such as CKR_PIN_INCORRECT. */
  readonly rv?: string | undefined;
  /** `package`: pkcs11js cannot be loaded; `module`: the module cannot be loaded. */
  readonly stage?: 'package' | 'module' | undefined;
  readonly message: string;
}

/** CKF_ flags of a token (PKCS #11, 3.2). */
export const TOKEN_FLAG = {
  loginRequired: 0x4,
  userPinInitialized: 0x8,
  protectedAuthenticationPath: 0x100,
  tokenInitialized: 0x400,
  userPinCountLow: 0x1_0000,
  userPinFinalTry: 0x2_0000,
  userPinLocked: 0x4_0000,
  userPinToBeChanged: 0x8_0000,
} as const;

export const KEY_TYPE = { rsa: 0x0, ec: 0x3 } as const;
