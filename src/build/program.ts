import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Script } from 'node:vm';

/**
 * The compiled program lies in two scripts: what a short job needs, and all the rest, which is read when something
 * of it is needed. Each is an object literal of parts by name, each part a function that fills its exports.
 */
export const SCRIPTS = ['near', 'far'] as const;
export type ScriptName = (typeof SCRIPTS)[number];

export const scriptFile = (name: ScriptName): string => `signpipe-${name}.js`;
/** What V8 made of a script at the time of the build, behind a digest of both; see `sealed`. */
export const cacheFile = (name: ScriptName): string => `signpipe-${name}.cache`;

interface Part {
  exports: object;
}

type PartFunction = (exports: object, require: NodeJS.Require, part: Part, url: string) => void;
type Parts = Readonly<Record<string, PartFunction>>;

/** Runs a part, unless it was run before, and gives what it exports. */
export type Load = (part: string) => object;

const DIGEST_SIZE = 32;

const digestOf = (script: Buffer, cache: Buffer): Buffer =>
  createHash('sha256').update(script).update(cache).digest();

/**
 * A code cache as it is kept. V8 takes over whatever was made by its own version for a script of the same length;
 * so the script itself, and every bit of the cache, are told by a digest.
 */
export const sealed = (script: Buffer, cache: Buffer): Buffer =>
  Buffer.concat([digestOf(script, cache), cache]);

/** The code cache in a file, if it is there, and whole, and of this script. */
function unsealed(path: string, script: Buffer): Buffer | undefined {
  try {
    const kept = readFileSync(path);
    const cache = kept.subarray(DIGEST_SIZE);
    return digestOf(script, cache).equals(kept.subarray(0, DIGEST_SIZE)) ? cache : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The scripts of the program in a folder, each read once and when it is asked for. V8 compiles a function when it is
 * first called, which takes most of a short command's time; what lies in the code cache it takes over. A cache of
 * another version of V8 is refused by V8 and does no harm.
 */
export class Scripts {
  private readonly read = new Map<ScriptName, Script>();

  constructor(readonly folder: string) {}

  script(name: ScriptName): Script {
    const script = this.read.get(name) ?? this.compile(name);
    this.read.set(name, script);
    return script;
  }

  private compile(name: ScriptName): Script {
    const filename = join(this.folder, scriptFile(name));
    const text = readFileSync(filename);
    const cachedData = unsealed(join(this.folder, cacheFile(name)), text);
    return new Script(text.toString('latin1'), { filename, ...(cachedData && { cachedData }) });
  }
}

/** A fresh run of the program, none of whose parts has been run. */
export function openProgram(scripts: Scripts): Load {
  const path = join(scripts.folder, scriptFile('near'));
  const [requireFrom, url] = [createRequire(path), pathToFileURL(path).href];
  const open = new Map<ScriptName, Parts>();
  const partsOf = (name: ScriptName): Parts => {
    const parts = open.get(name) ?? (scripts.script(name).runInThisContext() as Parts);
    open.set(name, parts);
    return parts;
  };
  const functionOf = (part: string): PartFunction => {
    const found = partsOf('near')[part] ?? partsOf('far')[part];
    if (found) return found;
    throw new Error(`${scripts.folder}: the compiled program has no part ${part}; build it again`);
  };
  const loaded = new Map<string, Part>();
  const load = (name: string): object => {
    const known = loaded.get(name);
    if (known) return known.exports;
    const run = functionOf(name);
    const part: Part = { exports: {} };
    loaded.set(name, part);
    run(part.exports, requirePart, part, url);
    return part.exports;
  };
  const requirePart = Object.assign(
    (id: string) => (id.startsWith('./') ? load(id.slice(2)) : (requireFrom(id) as object)),
    requireFrom,
  );
  return load;
}
