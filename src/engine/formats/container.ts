import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import type { PatchedSource } from '../../lib/bytes/patched-source.ts';

/** A file inside of a container. */
export interface Member {
  /** Its path in the container, with `/`; no two members have the same. */
  readonly path: string;
  /** Different forms of the path that other readers decode from the same container; left out if there are none. */
  readonly otherPaths?: readonly string[];
  /** Uncompressed, in bytes, as the container says; checked when it is read. */
  readonly size: number;
  /** Why its content cannot be replaced, to complete "NAME: …" (`is compressed with LZX`); left out if it can be. */
  readonly fixed?: string;
  /** Its content lies in another file, in whole or in part: it is only named here, and cannot be read. */
  readonly elsewhere?: true;
}

/** A member that is being read. */
export interface OpenMember {
  readonly member: Member;
  /** Has to be consumed, or left, before the next member is asked for. */
  readonly content: AsyncIterable<Buffer>;
}

/**
 * Files that lie inside of another one, such as the programs in an MSI's cabinets. Whatever writes a container again does
 * so in only one way, so that anyone can repeat it: the original with signed members gives the container that was signed.
 */
export interface Container {
  /** In the container's order. Their number, sizes and names are within the limits that were given. */
  readonly members: readonly Member[];
  /** The content of the wanted members, in the container's order, so that what is compressed as one is unpacked once. */
  read(wanted: (member: Member) => boolean): AsyncIterable<OpenMember>;
  /**
   * The container with new content for some members, as a delta over the container's source; signatures of the container
   * itself are not kept. Throws if one of them is `fixed`.
   */
  replace(contents: ReadonlyMap<string, ByteSource>): Promise<PatchedSource>;
}
