import { invalid, isInvalid, type SignpipeError } from '../../../lib/errors.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { peek } from '../../../lib/bytes/peek.ts';
import type { ArchiveLimits } from '../../../lib/zip/limits.ts';
import type { VerifyOptions } from '../../authenticode/verify.ts';
import type { Container, Member, OpenMember } from '../../formats/container.ts';
import { mayBeProgram } from '../../formats/program-names.ts';
import { formatByName, isAppleDouble, recognize, recognizeHead } from '../../formats/recognize.ts';
import type { SignableFile } from '../../formats/signable-file.ts';
import type { PathFilter } from '../globs.ts';
import { headSizeOf } from '../signed-scripts.ts';
import { verifyAmongOthers, type ProgramReport } from '../verify-program.ts';
import type { Descent } from './descent.ts';
import { isMeantAt, placeIn, within, type Place } from './place.ts';

export interface VerifyFileOptions extends VerifyOptions {
  readonly limits: ArchiveLimits;
  readonly scratch: string;
  /** Which programs of a zip, or inside of containers, must be good. If not given, names are judged by `mayBeProgram`. */
  readonly isMeant?: PathFilter | undefined;
}

/** A file that could not be read or looked into, or that is not a program though the patterns name it. */
export interface UnreadEntry extends Place {
  /** `zip-method-unsupported`, `zip-bomb`, `not-a-program`, ... */
  readonly code: string;
  readonly message: string;
  /** Whether it may be a program that has to be signed, so that the artifact is not good. */
  readonly suspect: boolean;
}

/** What was found in a container, and in those inside of it. */
export interface ContentReport {
  readonly programs: readonly ProgramReport[];
  readonly unread: readonly UnreadEntry[];
  /** The programs without a signature inside of containers that are signed. */
  readonly unsignedInside: readonly Place[];
}

/** A container, and whether it or one around it is signed. */
interface Around {
  readonly name: string;
  readonly inside: readonly string[];
  readonly sealed: boolean;
}

/** Verifies the programs inside of files, however deep they lie, within the bounds of the descent. */
export class InsideVerifier implements ContentReport {
  readonly programs: ProgramReport[] = [];
  readonly unread: UnreadEntry[] = [];
  readonly unsignedInside: Place[] = [];

  constructor(
    private readonly options: VerifyFileOptions,
    private readonly descent: Descent,
  ) {}

  /** Verifies a program, then what is inside of it. `sealed`: whether a container around it is signed. */
  async program(source: ByteSource, place: Place, sealed = false): Promise<void> {
    const { isMeant } = this.options;
    const meant = isMeant !== undefined && isMeantAt(isMeant, place);
    const { report, file } = await verifyAmongOthers(source, this.options);
    const isUnsigned = report.status === 'unsigned';
    // Scripts are everywhere and usually not signed.
    if (isUnsigned && !meant && formatByName(place.path)) return;
    this.programs.push({ ...report, ...place, ...(meant ? { meant } : {}) });
    if (isUnsigned && sealed) this.unsignedInside.push(place);
    await this.lookInto({ source, file }, place, sealed || report.signatures.length > 0);
  }

  /** Verifies what is inside of a zip in a container. */
  zip(source: ByteSource, place: Place, sealed = false): Promise<void> {
    return this.lookInto({ source, file: null, isZip: true }, place, sealed);
  }

  /** Verifies what is inside of a file, if it is a container. One that cannot be looked into is noted. */
  async lookInto(
    { source, file, isZip = false }: { source: ByteSource; file: SignableFile | null; isZip?: boolean },
    place: Place,
    sealed: boolean,
  ): Promise<void> {
    if (!isZip && !file?.container) return;
    const inside = within(place);
    try {
      const container = await this.descent.open({ source, file }, inside);
      if (container) await this.members(container, { name: source.name, inside, sealed });
    } catch (error) {
      if (!isInvalid(error)) throw error;
      this.unread.push({ ...place, ...reasonOf(error), suspect: false });
    }
  }

  private async members(container: Container, around: Around): Promise<void> {
    const { isMeant } = this.options;
    for await (const each of container.read(() => true)) {
      const { path } = each.member;
      const place = placeIn(around.inside, path);
      const meant = isMeant ? isMeantAt(isMeant, place) : null;
      try {
        await this.descent.keepingIf(async () => {
          await this.member(each, place, { ...around, meant: meant === true });
          return null;
        });
      } catch (error) {
        if (!isInvalid(error)) throw error;
        // What lies in another file is not part of this one.
        const suspect = each.member.elsewhere !== true && (meant ?? mayBeProgram(path));
        this.unread.push({ ...place, ...reasonOf(error), suspect });
      }
    }
  }

  private async member(
    { member, content }: OpenMember,
    place: Place,
    { name, sealed, meant }: Around & { readonly meant: boolean },
  ): Promise<void> {
    const what = `${name}!/${member.path}`;
    const peeked = await peek(content, headSizeOf(member));
    if (!mayMatter(peeked.head, member, meant)) return peeked.leave();
    const { source } = await this.descent.unpack(peeked.all, member.size, what);
    const kind = await recognize(source);
    if (kind === 'zip') return this.zip(source, place, sealed);
    if (kind === 'program') return this.program(source, place, sealed);
    if (meant && !isAppleDouble(member.path, peeked.head)) throw notAProgram(what);
    return undefined;
  }
}

/** Whether a member may be a program or a zip, by its first bytes; a script only if it holds a signature or is meant. */
function mayMatter(head: Buffer, { path, size }: Member, meant: boolean): boolean {
  const kind = recognizeHead(head, path);
  if (kind !== 'named' || meant) return kind !== null || meant;
  const marks = formatByName(path)?.signatureMarks?.(path) ?? [];
  return head.length < size || marks.some((mark) => head.includes(mark));
}

const reasonOf = ({ code, message }: SignpipeError): Pick<UnreadEntry, 'code' | 'message'> => ({
  code,
  message,
});

/** The error for a file that the patterns name and that is no program. */
export const notAProgram = (what: string): SignpipeError =>
  invalid('not-a-program', `${what}: the patterns name it, but it is no file that can be signed`);
