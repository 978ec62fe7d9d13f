/**
 * Checks a compound file by the rules of MS-CFB, with code of its own: every sector is owned once, chains have the length of
 * their content, the counts of the header are right, and each storage is a sorted red-black tree.
 */
import assert from 'node:assert/strict';

const END = 0xfffffffe;
const FREE = 0xffffffff;

interface Checked {
  /** Content of the streams by path. */
  readonly streams: Map<string, Buffer>;
  readonly entries: number;
  readonly fatSectors: number;
  readonly difatSectors: number;
  readonly miniFatSectors: number;
  readonly directorySectors: number;
  readonly freeSectors: number;
}

/** `redBlack: false` for trees of writers that make lists. */
export function checkStructure(file: Buffer, { redBlack = true } = {}): Checked {
  const version = file.readUInt16LE(26);
  const size = version === 4 ? 4096 : 512;
  const count = file.length / size - 1;
  assert.ok(Number.isInteger(count), 'the file ends with a whole sector');
  const sector = (at: number): Buffer => file.subarray((at + 1) * size, (at + 2) * size);
  const header = (at: number): number => file.readUInt32LE(at);
  const owner = new Map<number, string>();
  const own = (at: number, what: string): void => {
    assert.ok(at < count, `${what}: sector ${at} of ${count}`);
    assert.equal(owner.get(at), undefined, `sector ${at} belongs to ${what} and ${owner.get(at)}`);
    owner.set(at, what);
  };
  // DIFAT and FAT.
  const fatAt: number[] = [];
  for (let at = 0; at < 109; at += 1) fatAt.push(header(76 + at * 4));
  const difat: number[] = [];
  for (let at = header(68); at !== END; at = sector(at).readUInt32LE(size - 4)) {
    own(at, 'DIFAT');
    difat.push(at);
    for (let index = 0; index < size - 4; index += 4) fatAt.push(sector(at).readUInt32LE(index));
  }
  assert.equal(difat.length, header(72));
  assert.ok(
    fatAt.slice(header(44)).every((at) => at === FREE),
    'the list of FAT sectors ends',
  );
  const fatSectors = fatAt.slice(0, header(44));
  fatSectors.forEach((at) => own(at, 'FAT'));
  const fat = fatSectors.flatMap((at) =>
    Array.from({ length: size / 4 }, (_, index) => sector(at).readUInt32LE(index * 4)),
  );
  fatSectors.forEach((at) => assert.equal(fat[at], 0xfffffffd));
  difat.forEach((at) => assert.equal(fat[at], 0xfffffffc));
  assert.ok(fat.length >= count, 'the FAT covers the file');
  assert.ok(
    fat.slice(count).every((next) => next === FREE),
    'nothing lies beyond the end',
  );
  const chain = (start: number, what: string): number[] => {
    const sectors: number[] = [];
    for (let at = start; at !== END; at = fat[at] ?? FREE) {
      own(at, what);
      sectors.push(at);
    }
    return sectors;
  };
  const content = (sectors: readonly number[]): Buffer => Buffer.concat(sectors.map(sector));
  // Directory, mini FAT and mini stream.
  const directorySectors = chain(header(48), 'directory');
  assert.equal(header(40), version === 4 ? directorySectors.length : 0);
  const directory = content(directorySectors);
  const miniFatSectors = header(60) === END ? [] : chain(header(60), 'mini FAT');
  assert.equal(miniFatSectors.length, header(64));
  const miniFatBytes = content(miniFatSectors);
  const miniFat = Array.from({ length: miniFatBytes.length / 4 }, (_, at) =>
    miniFatBytes.readUInt32LE(at * 4),
  );
  const miniSize = directory.readUInt32LE(120);
  const miniSectors = miniSize === 0 ? [] : chain(directory.readUInt32LE(116), 'mini stream');
  assert.ok(miniSectors.length === Math.ceil(miniSize / size), 'the mini stream is as long as its sectors');
  const mini = content(miniSectors);
  const miniOwner = new Set<number>();
  const miniChain = (start: number): number[] => {
    const sectors: number[] = [];
    for (let at = start; at !== END; at = miniFat[at] ?? FREE) {
      assert.ok(at * 64 < miniSize, `mini sector ${at}`);
      assert.ok(!miniOwner.has(at), `mini sector ${at} is used twice`);
      miniOwner.add(at);
      sectors.push(at);
    }
    return sectors;
  };
  // Trees.
  const streams = new Map<string, Buffer>();
  const used = new Set<number>([0]);
  const entry = (at: number): Buffer => directory.subarray(at * 128, at * 128 + 128);
  const nameOf = (at: number): string => entry(at).toString('utf16le', 0, entry(at).readUInt16LE(64) - 2);
  const read = (at: number, path: string): void => {
    const bytes = entry(at);
    if (bytes[66] === 1) return storage(at, `${path}/`);
    const length = bytes.readUInt32LE(120);
    const start = bytes.readUInt32LE(116);
    const small = length < 4096;
    const sectors = length === 0 ? [] : small ? miniChain(start) : chain(start, path);
    assert.equal(sectors.length, Math.ceil(length / (small ? 64 : size)), `${path}: length of its chain`);
    const all = small
      ? Buffer.concat(sectors.map((each) => mini.subarray(each * 64, each * 64 + 64)))
      : content(sectors);
    streams.set(path, all.subarray(0, length));
  };
  /** Visits a tree in order; returns the number of black entries on each way down. */
  const walk = (at: number, parentRed: boolean, names: string[], path: string): number => {
    if (at === FREE) return 0;
    assert.ok(!used.has(at), `entry ${at} is used twice`);
    used.add(at);
    const red = entry(at)[67] === 0;
    if (redBlack) assert.ok(!(red && parentRed), `${nameOf(at)}: red below red`);
    const left = walk(entry(at).readUInt32LE(68), red, names, path);
    names.push(nameOf(at));
    read(at, path + nameOf(at));
    const right = walk(entry(at).readUInt32LE(72), red, names, path);
    if (redBlack) assert.equal(left, right, `${nameOf(at)}: black height`);
    return left + (red ? 0 : 1);
  };
  const storage = (at: number, path: string): void => {
    const names: string[] = [];
    const top = entry(at).readUInt32LE(76);
    walk(top, redBlack, names, path);
    const sorted = [...names].sort(
      (a, b) => a.length - b.length || (a.toUpperCase() < b.toUpperCase() ? -1 : 1),
    );
    assert.deepEqual(names, sorted, 'names are in order');
  };
  storage(0, '');
  for (let at = 0; at * 128 < directory.length; at += 1)
    if (!used.has(at)) assert.equal(entry(at)[66], 0, `entry ${at} is in no tree, yet in use`);
  fat
    .slice(0, count)
    .forEach((next, at) => assert.equal(next === FREE, !owner.has(at), `sector ${at} is free or owned`));
  miniFat.forEach((next, at) =>
    assert.equal(next === FREE, !miniOwner.has(at), `mini sector ${at} is free or owned`),
  );
  return {
    streams,
    entries: used.size,
    fatSectors: fatSectors.length,
    difatSectors: difat.length,
    miniFatSectors: miniFatSectors.length,
    directorySectors: directorySectors.length,
    freeSectors: count - owner.size,
  };
}
