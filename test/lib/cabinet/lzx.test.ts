/** What cabextract unpacks from LZX, is unpacked here alike. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openCabinet } from '../../../src/lib/cabinet/cabinet.ts';
import { unpackMembers } from '../../../src/lib/cabinet/unpack.ts';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';
import { isInvalid } from '../../../src/lib/errors.ts';
import { inFolder, must } from '../../engine/authenticode/tools.ts';
import { buildCab } from '../../fixtures/cab.ts';
import { lzxFrames, type LzxBlock } from '../../fixtures/lzx.ts';
import { filler } from '../../fixtures/pe.ts';

/** Text, noise, and calls of a few functions, as programs have them. */
function content(length: number): Buffer {
  const text = Buffer.from(filler(700, 1).toString('base64').repeat(40));
  const calls = Buffer.alloc(30_000, 0x90);
  for (let at = 0; at + 5 < calls.length; at += 11) {
    calls[at] = 0xe8;
    calls.writeInt32LE(((at * 37) % 90_000) - at - 20_000, at + 1);
  }
  const part = Buffer.concat([text, filler(5000, 2), calls, Buffer.alloc(3000, 0xe8)]);
  return Buffer.concat(Array.from({ length: Math.ceil(length / part.length) }, () => part)).subarray(
    0,
    length,
  );
}

interface Kind {
  readonly windowBits: number;
  readonly blocks: readonly (readonly [LzxBlock, number])[];
  readonly length: number;
  /** The size that calls are translated for. */
  readonly calls?: number;
}

const KINDS: Record<string, Kind> = {
  'verbatim.bin': { windowBits: 15, blocks: [['verbatim', 50_000]], length: 100_000 },
  'aligned.bin': { windowBits: 17, blocks: [['aligned', 20_000]], length: 150_000 },
  'raw.bin': { windowBits: 16, blocks: [['uncompressed', 10_001]], length: 70_000 },
  'mixed.bin': {
    windowBits: 18,
    blocks: [
      ['aligned', 40_000],
      ['uncompressed', 333],
      ['verbatim', 70_000],
      ['uncompressed', 65_000],
    ],
    length: 300_000,
  },
  'calls.bin': {
    windowBits: 21,
    blocks: [
      ['verbatim', 200_000],
      ['aligned', 7],
    ],
    length: 260_000,
    calls: 200_000,
  },
  'short.bin': { windowBits: 20, blocks: [['verbatim', 3]], length: 5 },
};

const CAB = buildCab({
  folders: Object.entries(KINDS).map(([name, { windowBits, blocks, length, calls }]) => {
    const data = content(length);
    const frames = lzxFrames(data, windowBits, blocks, calls);
    return { files: [{ name, data }], blocks: frames, type: 3 | (windowBits << 8) };
  }),
});

async function unpack(bytes: Buffer): Promise<Record<string, Buffer>> {
  const cabinet = await openCabinet(new BufferSource(bytes, 'a.cab'));
  const contents: Record<string, Buffer> = {};
  for await (const { member, content } of unpackMembers(cabinet, () => true, { ratio: 2000 })) {
    const chunks: Buffer[] = [];
    for await (const chunk of content) chunks.push(chunk);
    contents[member.name] = Buffer.concat(chunks);
  }
  return contents;
}

describe('LZX', () => {
  it('is unpacked as by cabextract: all kinds of blocks, windows and translated calls', async () => {
    const theirs = await inFolder(async (at) => {
      await writeFile(join(at, 'a.cab'), CAB);
      await must('cabextract', '-q', '-d', at, join(at, 'a.cab'));
      return Promise.all(
        Object.keys(KINDS).map(async (name) => [name, await readFile(join(at, name))] as const),
      );
    });
    const ours = await unpack(CAB);
    for (const [name, bytes] of theirs) {
      assert(bytes.equals(content(KINDS[name]?.length ?? 0)), `${name} by cabextract`);
      assert(ours[name]?.equals(bytes), name);
    }
  });

  it('cab-data-corrupt: is refused or unpacked to something, wherever a byte is changed', async () => {
    const data = content(40_000);
    const frames = lzxFrames(
      data,
      15,
      [
        ['aligned', 15_000],
        ['uncompressed', 101],
        ['verbatim', 9000],
      ],
      9999,
    );
    const cab = buildCab({
      folders: [{ files: [{ name: 'a', data }], blocks: frames, type: 0x0f03 }],
      checksums: false,
    });
    let refused = 0;
    for (let at = 72; at < cab.length; at += 23) {
      const bytes = Buffer.from(cab);
      bytes.writeUInt8((cab[at] ?? 0) ^ (1 << (at % 8)), at);
      await unpack(bytes).catch((error: unknown) => {
        assert(isInvalid(error), String(error));
        refused += 1;
      });
    }
    assert(refused > 40, `${refused} refused`);
  });
});
