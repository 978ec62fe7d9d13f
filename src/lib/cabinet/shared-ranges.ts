import type { ByteRange } from '../bytes/byte-range.ts';
import type { CabinetMember } from './cabinet.ts';

/** A part of an unpacked folder, and the members that have it as their content: WiX stores equal files once. */
export interface MemberRange extends ByteRange {
  /** In the order of the table; all of one size. */
  readonly members: readonly CabinetMember[];
}

/** The parts of a folder that members have as their content, in ascending order. */
export function rangesOf(members: readonly CabinetMember[]): MemberRange[] {
  const ranges: { start: number; end: number; members: CabinetMember[] }[] = [];
  const ascending = [...members].sort((a, b) => a.offset - b.offset || a.size - b.size);
  for (const member of ascending) {
    const [start, end] = [member.offset, member.offset + member.size];
    const last = ranges.at(-1);
    if (last?.start === start && last.end === end) last.members.push(member);
    else ranges.push({ start, end, members: [member] });
  }
  return ranges;
}
