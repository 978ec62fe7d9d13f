import { isUtf8 } from 'node:buffer';
import { createRequire } from 'node:module';
import { Semaphore } from '../../../lib/concurrency/semaphore.ts';
import type { Attribute, Handle, PKCS11 } from 'pkcs11js';
import {
  KEY_TYPE,
  TOKEN_FLAG,
  type ModuleCalls,
  type ModuleInfo,
  type SignRequest,
  type TokenCertificate,
  type TokenInfo,
  type TokenKey,
} from './module-calls.ts';

/** Bounds on what a token may make this process read. */
const MAX_OBJECTS = 10_000;
const MAX_ATTRIBUTE = 64 * 1024;

/** In bytes: an RSA signature of 16384 bits. */
const MAX_SIGNATURE = 2048;

const CKF_OS_LOCKING_OK = 0x2;
const CKF_SERIAL_SESSION = 0x4;
const CKU_USER = 1;
const CKU_CONTEXT_SPECIFIC = 2;
const CKO = { certificate: 1, publicKey: 2, privateKey: 3 } as const;
const CKC_X_509 = 0;
const CKA = {
  class: 0x0,
  label: 0x3,
  value: 0x11,
  certificateType: 0x80,
  keyType: 0x100,
  id: 0x102,
  sign: 0x108,
  modulus: 0x120,
  ecParams: 0x180,
  ecPoint: 0x181,
  alwaysAuthenticate: 0x202,
} as const;

/** An error while loading, before the module itself can answer. */
export class LoadError extends Error {
  constructor(
    readonly stage: 'package' | 'module',
    message: string,
  ) {
    super(message);
  }
}

const hasName = (error: unknown, ...names: readonly string[]): boolean =>
  error instanceof Error && names.includes(error.message);

/** Text of a fixed length, padded with blanks; some modules pad with zeros. */
const unpadded = (text: string): string => (text.split('\0', 1)[0] ?? '').trimEnd();

/** A label, which is UTF-8; empty if it is none, or there is none. */
const labelOf = (value: Buffer | undefined): string => (value && isUtf8(value) ? value.toString() : '');

/** A CK_ULONG in memory, as a number. */
const numberOf = (value: Buffer): number =>
  value.length === 8 ? Number(value.readBigUInt64LE()) : value.readUIntLE(0, Math.min(6, value.length));

/** A limit of sessions: 0 is no limit, and all ones mean that the token does not say (CK_UNAVAILABLE_INFORMATION). */
const sessionLimit = (count: number): number | undefined =>
  count > 0 && count < 0x7fff_ffff ? count : undefined;

function loadPackage(): PKCS11 {
  try {
    const { PKCS11: Pkcs11 } = createRequire(import.meta.url)('pkcs11js') as typeof import('pkcs11js');
    return new Pkcs11();
  } catch (error) {
    throw new LoadError(
      'package',
      error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error),
    );
  }
}

/** Initializes the module; whether it may then be called from several threads at the same time. */
export function initialize(module: Pick<PKCS11, 'C_Initialize'>): boolean {
  try {
    module.C_Initialize({ flags: CKF_OS_LOCKING_OK });
    return true;
  } catch (error) {
    if (!hasName(error, 'CKR_CANT_LOCK', 'CKR_NEED_TO_CREATE_THREADS', 'CKR_ARGUMENTS_BAD')) throw error;
    module.C_Initialize();
    return false;
  }
}

/** All that a search finds, up to a limit. A call may return fewer than it was asked for; only none is the end. */
export function findAll<T>(find: (most: number) => readonly T[], limit: number): T[] {
  const found: T[] = [];
  while (found.length < limit) {
    const more = find(limit - found.length);
    if (more.length === 0) break;
    found.push(...more);
  }
  return found;
}

/** A PKCS#11 module in this process. All calls but `sign` block. */
export class LoadedModule implements ModuleCalls {
  private module: PKCS11 = undefined as never;
  private readonly free: Handle[] = [];
  /** Holds what threads read from, which the garbage collector cannot see. */
  private readonly inUse = new Set<Buffer>();
  private readonly signing = new Semaphore(1);
  private session: Handle = Buffer.alloc(0);
  /** Whether several sessions may sign at the same time, each in a thread. */
  private threads = false;

  load(path: string): ModuleInfo {
    this.module = loadPackage();
    try {
      this.module.load(path);
    } catch (error) {
      throw new LoadError('module', error instanceof Error ? error.message : String(error));
    }
    this.threads = initialize(this.module);
    const { libraryDescription, manufacturerID, libraryVersion } = this.module.C_GetInfo();
    return {
      description: unpadded(libraryDescription),
      manufacturer: unpadded(manufacturerID),
      version: libraryVersion,
    };
  }

  tokens(): TokenInfo[] {
    return this.module
      .C_GetSlotList(true)
      .slice(0, MAX_OBJECTS)
      .flatMap((slot) => this.tokenIn(slot) ?? []);
  }

  /** The token in a slot; undefined if it was pulled out just now, or is not initialized. */
  private tokenIn(slot: Handle): TokenInfo | undefined {
    try {
      const token = this.module.C_GetTokenInfo(slot);
      if ((token.flags & TOKEN_FLAG.tokenInitialized) === 0) return undefined;
      const { slotDescription, manufacturerID } = this.module.C_GetSlotInfo(slot);
      return {
        slot,
        slotId: numberOf(slot),
        slotDescription: unpadded(slotDescription),
        slotManufacturer: unpadded(manufacturerID),
        label: unpadded(token.label),
        manufacturer: unpadded(token.manufacturerID),
        model: unpadded(token.model),
        serial: unpadded(token.serialNumber),
        flags: token.flags,
        maxSessions: sessionLimit(token.maxSessionCount),
      };
    } catch (error) {
      if (hasName(error, 'CKR_TOKEN_NOT_PRESENT', 'CKR_TOKEN_NOT_RECOGNIZED', 'CKR_DEVICE_REMOVED'))
        return undefined;
      throw error;
    }
  }

  mechanisms(slot: Buffer): number[] {
    return this.module.C_GetMechanismList(slot).slice(0, MAX_OBJECTS);
  }

  openSessions({ slot, count }: { readonly slot: Buffer; readonly count: number }): number {
    this.session = this.module.C_OpenSession(slot, CKF_SERIAL_SESSION);
    this.free.push(this.session);
    try {
      while (this.threads && this.free.length < count)
        this.free.push(this.module.C_OpenSession(slot, CKF_SERIAL_SESSION));
    } catch (error) {
      if (!hasName(error, 'CKR_SESSION_COUNT')) throw error;
    }
    this.signing.limit = this.free.length;
    return this.free.length;
  }

  login(pin: string | undefined): void {
    try {
      this.module.C_Login(this.session, CKU_USER, pin);
    } catch (error) {
      if (!hasName(error, 'CKR_USER_ALREADY_LOGGED_IN')) throw error;
    }
  }

  keys({ label, id }: { readonly label: string | undefined; readonly id: Buffer | undefined }): TokenKey[] {
    const handles = this.find([
      { type: CKA.class, value: CKO.privateKey },
      ...(label === undefined ? [] : [{ type: CKA.label, value: Buffer.from(label) }]),
      ...(id === undefined ? [] : [{ type: CKA.id, value: id }]),
    ]);
    return handles.map((handle) => this.keyOf(handle));
  }

  private keyOf(handle: Handle): TokenKey {
    const type = this.read(handle, CKA.keyType);
    const keyId = this.read(handle, CKA.id) ?? Buffer.alloc(0);
    const number = type ? numberOf(type) : -1;
    return {
      handle,
      label: labelOf(this.read(handle, CKA.label)),
      id: keyId,
      type: number,
      signs: this.read(handle, CKA.sign)?.[0] !== 0,
      alwaysAuthenticate: this.read(handle, CKA.alwaysAuthenticate)?.[0] === 1,
      modulus: number === KEY_TYPE.rsa ? this.read(handle, CKA.modulus) : undefined,
      ecParams: number === KEY_TYPE.ec ? this.read(handle, CKA.ecParams) : undefined,
      ecPoint: number === KEY_TYPE.ec && keyId.length > 0 ? this.ecPoint(keyId) : undefined,
    };
  }

  /** The point of the public key with an id, if exactly one has it. */
  private ecPoint(id: Buffer): Buffer | undefined {
    const [handle, another] = this.find([
      { type: CKA.class, value: CKO.publicKey },
      { type: CKA.keyType, value: KEY_TYPE.ec },
      { type: CKA.id, value: id },
    ]);
    return handle && !another ? this.read(handle, CKA.ecPoint) : undefined;
  }

  certificates(): TokenCertificate[] {
    const handles = this.find([
      { type: CKA.class, value: CKO.certificate },
      { type: CKA.certificateType, value: CKC_X_509 },
    ]);
    return handles.flatMap((handle) => {
      const der = this.read(handle, CKA.value);
      if (!der || der.length === 0) return [];
      return {
        label: labelOf(this.read(handle, CKA.label)),
        id: this.read(handle, CKA.id) ?? Buffer.alloc(0),
        der,
      };
    });
  }

  sign(request: SignRequest): Promise<Buffer> {
    return this.signing.run(() => this.signNow(request));
  }

  private async signNow({ key, mechanism, data, authenticate }: SignRequest): Promise<Buffer> {
    const session = this.free.pop();
    if (!session) throw new Error('no session is open');
    this.inUse.add(data);
    try {
      this.module.C_SignInit(session, { mechanism }, key);
      if (authenticate) this.module.C_Login(session, CKU_CONTEXT_SPECIFIC, authenticate.pin);
      const output = Buffer.alloc(MAX_SIGNATURE);
      return Buffer.from(await this.module.C_SignAsync(session, data, output));
    } finally {
      this.inUse.delete(data);
      this.free.push(session);
    }
  }

  close(): void {
    this.module.C_Finalize();
  }

  private find(template: readonly Attribute[]): Handle[] {
    this.module.C_FindObjectsInit(this.session, [...template]);
    try {
      return findAll((most) => this.module.C_FindObjects(this.session, most), MAX_OBJECTS);
    } finally {
      this.module.C_FindObjectsFinal(this.session);
    }
  }

  /** An attribute of an object; undefined if the object has none, or does not show it. */
  private read(handle: Handle, type: number): Buffer | undefined {
    try {
      const [attribute] = this.module.C_GetAttributeValue(this.session, handle, [{ type }]);
      const value = attribute?.value;
      return value && value.length <= MAX_ATTRIBUTE ? value : undefined;
    } catch (error) {
      if (hasName(error, 'CKR_ATTRIBUTE_TYPE_INVALID', 'CKR_ATTRIBUTE_SENSITIVE')) return undefined;
      throw error;
    }
  }
}
