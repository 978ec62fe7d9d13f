/** The package comes without types. */
declare module 'pako' {
  export class Deflate {
    constructor(options: { raw: boolean; level: number; windowBits: number; memLevel: number });
    /** `flush`: true ends the stream, 2 flushes it to a byte boundary. */
    push(data: Uint8Array, flush: boolean | number): boolean;
    readonly result: Uint8Array;
  }
}
