import { isInvalid, notAllowed, type SignpipeError } from '../../../lib/errors.ts';
import { peek } from '../../../lib/bytes/peek.ts';
import type { Container, Member, OpenMember } from '../../formats/container.ts';
import { mayBeProgram } from '../../formats/program-names.ts';
import {
  fileKindOf,
  HEAD_SIZE,
  isAppleDouble,
  isRecognizedByName,
  openSignableFile,
  recognize,
  recognizeHead,
} from '../../formats/recognize.ts';
import type { SignableFile } from '../../formats/signable-file.ts';
import { isOurs } from '../globs.ts';
import { appendWouldLose } from '../../authenticode/sign.ts';
import { keptSigner } from '../sign-program.ts';
import type { InsidePolicy, KeptEntry, LeftAlone } from '../signed-artifact.ts';
import type { UnpackedProgram } from '../unpacked-programs.ts';
import type { Descent } from './descent.ts';
import type { FileToSign, FindOptions, ToSignInside } from './file-to-sign.ts';
import { isExcludedAt, isMeantAt, placeIn, shownPlace, within, type Place } from './place.ts';
import { insideFixed, notAProgram, withExclusion } from './refusals.ts';

const NOTHING: ToSignInside = { container: null, members: [] };

/** What holds for all members of one container. */
interface ContainerContext {
  /** The name of the container for messages. */
  readonly name: string;
  /** The place of its members. */
  readonly inside: readonly string[];
  /** Whether its members may be signed. */
  readonly mayChange: boolean;
  /** Why no member can be replaced: the container is itself a member that cannot be. */
  readonly fixed?: string | undefined;
}

/** A member that was unpacked, and what is to be known to decide about it. */
interface Unpacked extends UnpackedProgram {
  readonly place: Place;
  readonly ours: boolean;
  readonly excluded: boolean;
  /** Why it cannot be replaced. */
  readonly fixed?: string | undefined;
  readonly mayChange: boolean;
  /** Whether a container holds it; if not, it is an entry of the artifact, and our patterns may name no zip there. */
  readonly isMember: boolean;
}

/**
 * Looks for files to sign in an artifact and in the containers in it, and decides about each: the one walk behind signing
 * and planning. Nothing is signed and nothing is written but unpacked files.
 */
export class Search {
  readonly kept: KeptEntry[] = [];
  readonly leftAlone: LeftAlone[] = [];
  readonly unsignedInside: Place[] = [];
  private readonly policy: InsidePolicy;

  constructor(
    private readonly options: FindOptions,
    private readonly descent: Descent,
  ) {
    this.policy = options.inside ?? 'report';
  }

  /** Whether zips in a zip are opened. */
  get opensZips(): boolean {
    return this.policy === 'sign' || this.policy === 'require-signed';
  }

  /**
   * Decides about a program that our patterns name, or a zip among the entries of a zip: what is to be signed, or null if it
   * stays as it is. Throws `not-a-program` for other files.
   */
  async file(unpacked: UnpackedProgram, place: Place, isMeant: boolean): Promise<FileToSign | null> {
    const isZip = this.opensZips && (await recognize(unpacked.source)) === 'zip';
    if (!isMeant && !isZip) return null;
    return this.decide({
      ...unpacked,
      place,
      ours: !isZip,
      excluded: false,
      mayChange: true,
      isMember: false,
    });
  }

  /** What is to be signed in a program that is not in a zip, if that is a container, and the program itself. */
  async program(file: SignableFile): Promise<FileToSign> {
    const { source } = file;
    const contents = await this.contentsOf({ source, file }, { path: '' }, { mayChange: true });
    this.requireSignable(file, contents);
    return { source, sha256: '', path: '', file, ...contents };
  }

  /** Throws `inside-unsigned` if policy refuses the unsigned programs that were found in containers. */
  requireSignedInside(name: string): void {
    const [first, ...others] = this.unsignedInside;
    if (!first || this.policy !== 'require-signed') return;
    const more = others.length > 0 ? ` (and ${others.length} more)` : '';
    throw notAllowed(
      'inside-unsigned',
      `${name}: ${shownPlace(first)}, a program inside of it, is not signed${more}`,
      {
        hint: 'sign it before packing, set signing.inside to sign, or exclude it from signing.files with "!"',
      },
    );
  }

  private async contentsOf(
    opened: Pick<FileToSign, 'source' | 'file'>,
    place: Place,
    { mayChange, fixed }: Pick<ContainerContext, 'mayChange' | 'fixed'>,
  ): Promise<ToSignInside> {
    if (this.policy === 'ignore') return NOTHING;
    const inside = within(place);
    const { name } = opened.source;
    try {
      const container = await this.descent.open(opened, inside);
      if (!container) return NOTHING;
      const members = await this.membersOf(container, {
        name,
        inside,
        mayChange: mayChange && this.policy === 'sign',
        fixed,
      });
      return members.length > 0 ? { container, members } : NOTHING;
    } catch (error) {
      if (!isInvalid(error)) throw error;
      if (!this.mayStayClosed(error)) throw place.path === '' ? error : withExclusion(error);
      this.leftAlone.push({ ...place, why: opened.file ? 'not-opened' : 'nested-zip' });
      return NOTHING;
    }
  }

  /** Whether a container that cannot be read may be signed nevertheless. A package in a zip is no zip of programs. */
  private readonly mayStayClosed = ({ code }: SignpipeError): boolean =>
    this.policy === 'report' || code === 'zip-is-package';

  private async membersOf(container: Container, around: ContainerContext): Promise<FileToSign[]> {
    const members: FileToSign[] = [];
    for await (const each of container.read(() => true)) {
      const found = await this.descent.keepingIf(async () => {
        const unpacked = await this.unpack(each, around);
        return unpacked && this.decide(unpacked);
      });
      if (found) members.push(found);
    }
    return members;
  }

  /** Unpacks a member if it may be a program or a zip, or if it is ours. */
  private async unpack({ member, content }: OpenMember, around: ContainerContext): Promise<Unpacked | null> {
    const { name, inside, mayChange } = around;
    const place = placeIn(inside, member.path);
    const { path, otherPaths = [] } = member;
    const isMeant = (each: string): boolean => isMeantAt(this.options.isOurs, { path: each, inside });
    const ours = mayChange && isOurs({ path, otherPaths }, isMeant, name);
    const excluded = isExcludedAt(this.options.isOurs, place);
    try {
      const { head, all, leave } = await peek(content, HEAD_SIZE);
      if (ours || recognizeHead(head, path) !== null) {
        const unpacked = await this.descent.unpack(all, member.size, `${name}!/${path}`);
        const fixed = around.fixed ?? member.fixed;
        return { ...unpacked, place, ours, excluded, mayChange, fixed, isMember: true };
      }
      await leave();
      return null;
    } catch (error) {
      if (!isInvalid(error) || this.mustBeRead(member, ours, excluded)) throw error;
      return null;
    }
  }

  /** Whether a member that is damaged, or packed in an unknown way, keeps the container from being signed. */
  private mustBeRead({ path }: Member, ours: boolean, excluded: boolean): boolean {
    return ours || (this.policy === 'require-signed' && !excluded && mayBeProgram(path));
  }

  private async decide(unpacked: Unpacked): Promise<FileToSign | null> {
    const { source, ours, isMember, excluded } = unpacked;
    if (ours && (await this.isAppleDouble(unpacked))) return null;
    const kind = ours ? await fileKindOf(source) : await recognize(source);
    if (kind === 'program') return this.decideProgram(unpacked);
    if (ours && !(kind === 'zip' && isMember)) throw notAProgram(source.name);
    return kind === 'zip' && !excluded ? this.decideZip(unpacked) : null;
  }

  private async isAppleDouble({ source, place }: Unpacked): Promise<boolean> {
    const head = await source.read(0, Math.min(source.size, HEAD_SIZE));
    if (!isAppleDouble(place.path, head)) return false;
    this.leftAlone.push({ ...place, why: 'apple-double' });
    return true;
  }

  private async decideZip(unpacked: Unpacked): Promise<FileToSign | null> {
    const { place, mayChange, fixed } = unpacked;
    const opened = { source: unpacked.source, file: null };
    const contents = await this.contentsOf(opened, place, { mayChange, fixed });
    if (contents.container === null) return null;
    return { ...fileOf(unpacked), ...opened, ...contents };
  }

  private async decideProgram(unpacked: Unpacked): Promise<FileToSign | null> {
    const file = await this.open(unpacked);
    if (!file) return null;
    const { place, ours, mayChange, fixed } = unpacked;
    if (!(await (ours ? this.isToSign(unpacked, file) : this.isUnsigned(unpacked, file)))) return null;
    const contents = await this.contentsOf({ source: unpacked.source, file }, place, {
      mayChange: mayChange && ours,
      fixed,
    });
    if (!ours) return null;
    this.requireSignable(file, contents);
    return { ...fileOf(unpacked), file, ...contents };
  }

  /**
   * Asked before anything is signed, when it is known what will be signed inside of the file. A file that cannot be signed as
   * it is may become signable by that; its own signatures are lost by it.
   */
  private requireSignable(file: SignableFile, { container }: ToSignInside): void {
    if (!container) file.requireSignable();
    else if (this.options.alreadySigned === 'append' && file.signatures.length > 0)
      throw appendWouldLose(
        file.source.name,
        'what is to be signed inside of it would make its signature invalid',
      );
  }

  /** A file that only begins like a program is data, unless it has to be a program. */
  private async open({ source, ours, excluded, place }: Unpacked): Promise<SignableFile | null> {
    try {
      return await openSignableFile(source);
    } catch (error) {
      const needed = ours || (this.policy === 'require-signed' && !excluded && mayBeProgram(place.path));
      if (!isInvalid(error) || needed) throw error;
      return null;
    }
  }

  /** Whether a program of ours is to be signed; if not, it is kept, and who signed it is noted. */
  private async isToSign({ place, fixed }: Unpacked, file: SignableFile): Promise<boolean> {
    const signer = await keptSigner(file, shownPlace(place), this.options);
    if (signer) this.kept.push({ ...place, ...signer });
    else if (fixed !== undefined) throw insideFixed(file.source.name, fixed);
    return signer === null;
  }

  /** Whether a program that is not ours is unsigned, which is noted, unless a pattern excludes it. */
  private async isUnsigned({ place, excluded }: Unpacked, file: SignableFile): Promise<boolean> {
    if (excluded) return false;
    if (file.signatures.length === 0) {
      const matters = !isRecognizedByName(file.format) || isMeantAt(this.options.isOurs, place);
      if (matters) this.unsignedInside.push(place);
      return matters;
    }
    if (this.policy === 'require-signed')
      // Throws if the signature is bad.
      await keptSigner(file, shownPlace(place), { ...this.options, alreadySigned: 'keep' });
    return false;
  }
}

const fileOf = ({ source, sha256, blocks, place }: Unpacked): UnpackedProgram & Place => ({
  source,
  sha256,
  ...(blocks === undefined ? {} : { blocks }),
  ...place,
});
