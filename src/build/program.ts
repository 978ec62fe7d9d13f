import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Script } from 'node:vm';

/**
 * The two scripts of the compiled program. Only for speed: `near` has what short commands need, `far` the rest, which is
 * read when it is first needed. Each is an object literal of parts by name; each part is a function that sets its exports.
 */
export const SCRIPTS = ['near', 'far'] as const;
export type ScriptName = (typeof SCRIPTS)[number];

export const scriptFile = (name: ScriptName): string => `signpipe-${name}.js`;
/** The file with V8's code cache for a script, made by the build; see `sealed`. */
export const cacheFile = (name: ScriptName): string => `signpipe-${name}.cache`;

interface LoadedPart {
  exports: object;
}

type PartFunction = (exports: object, require: NodeJS.Require, part: LoadedPart, url: string) => void;
type PartFunctions = Readonly<Record<string, PartFunction>>;

/** Runs a part, unless it was run before, and returns its exports. */
export type Load = (part: string) => object;

const DIGEST_SIZE = 32;

const digestOf = (script: Buffer, cache: Buffer): Buffer =>
  createHash('sha256').update(script).update(cache).digest();

/**
 * The content of a cache file: a SHA-256 of script and cache, then the cache. V8 itself accepts any cache of its own
 * version for a script of the same length, so the digest checks the script and every bit of the cache.
 */
export const sealed = (script: Buffer, cache: Buffer): Buffer =>
  Buffer.concat([digestOf(script, cache), cache]);

/** The code cache in a file; undefined if it is missing, damaged or of another script. */
function unsealed(path: string, script: Buffer): Buffer | undefined {
  try {
    const content = readFileSync(path);
    const cache = content.subarray(DIGEST_SIZE);
    return digestOf(script, cache).equals(content.subarray(0, DIGEST_SIZE)) ? cache : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The scripts of the program in a folder, each read when it is first needed. Only for speed, they have code caches: V8
 * compiles a function when it is first called, which takes most of a short command's time, unless it is in the cache. V8
 * refuses a cache of another version, which does no harm.
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

/** Prepares a run of the program, with no part loaded yet. */
export function openProgram(scripts: Scripts): Load {
  const path = join(scripts.folder, scriptFile('near'));
  const [requireFrom, url] = [createRequire(path), pathToFileURL(path).href];
  const open = new Map<ScriptName, PartFunctions>();
  const partsOf = (name: ScriptName): PartFunctions => {
    const parts = open.get(name) ?? (scripts.script(name).runInThisContext() as PartFunctions);
    open.set(name, parts);
    return parts;
  };
  const functionOf = (part: string): PartFunction => {
    const run = partsOf('near')[part] ?? partsOf('far')[part];
    if (run) return run;
    throw new Error(`${scripts.folder}: the compiled program has no part ${part}; build it again`);
  };
  const loaded = new Map<string, LoadedPart>();
  const load = (name: string): object => {
    const loadedPart = loaded.get(name);
    if (loadedPart) return loadedPart.exports;
    const run = functionOf(name);
    const part: LoadedPart = { exports: {} };
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
