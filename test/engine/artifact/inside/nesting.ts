/** Containers in containers for the tests, and what is in them. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { attachToFile } from '../../../../src/engine/artifact/attach-file.ts';
import { compilePatterns } from '../../../../src/engine/artifact/globs.ts';
import { shownPlace } from '../../../../src/engine/artifact/inside/place.ts';
import { planFile, type FilePlan } from '../../../../src/engine/artifact/plan-file.ts';
import { proveFile, type FileProof } from '../../../../src/engine/artifact/prove-file.ts';
import { signFile } from '../../../../src/engine/artifact/sign-file.ts';
import type { SignArtifactOptions, SignedFile } from '../../../../src/engine/artifact/signed-artifact.ts';
import { verifyFile, type FileReport } from '../../../../src/engine/artifact/verify-file.ts';
import type { VerifyFileOptions } from '../../../../src/engine/artifact/inside/verify-inside.ts';
import { openSignableFile } from '../../../../src/engine/formats/recognize.ts';
import { FORMATS } from '../../../../src/engine/formats/registry.ts';
import type { FileFormat } from '../../../../src/engine/formats/signable-file.ts';
import { BufferSource } from '../../../../src/lib/bytes/byte-source.ts';
import { buildPe, filler } from '../../../fixtures/pe.ts';
import { forge, contentOf, LIMITS, readZipFile } from '../../../lib/zip/zips.ts';
import { box } from '../../formats/box-file.ts';
import { makeSigningSetup } from '../signing-setup.ts';

/** An unsigned program; another one for each number. */
export const program = (seed: number): Buffer =>
  buildPe({ sections: [{ name: '.text', data: filler(2000, seed) }] });

export const zipOf = (files: Record<string, Buffer>): Buffer =>
  forge(Object.entries(files).map(([name, content]) => ({ name, content })));

/** A file, signed. */
export interface Tried {
  readonly signed: SignedFile;
  readonly plan: FilePlan;
  readonly bytes: Buffer;
  /** Places of what was signed, in its order. */
  readonly places: readonly string[];
}

/** A folder, a key, and the functions of the engine with both. */
export interface Nesting {
  readonly folder: string;
  readonly options: SignArtifactOptions;
  sign(name: string, bytes: Buffer, more?: Partial<SignArtifactOptions>): Promise<Tried>;
  verify(name: string, bytes: Buffer, more?: Partial<VerifyFileOptions>): Promise<FileReport>;
  prove(name: string, original: Buffer, signed: Buffer): Promise<FileProof>;
  /** The signed file made again out of the unsigned one and what was signed. */
  attach(name: string, original: Buffer, signed: SignedFile['signed']): Promise<Buffer>;
}

export async function makeNesting(): Promise<Nesting> {
  (FORMATS as FileFormat[]).push(box);
  const { folder, signing } = await makeSigningSetup();
  const options: SignArtifactOptions = { ...signing, isOurs: compilePatterns(['**/*.exe', '**/*.box']) };
  const common = { limits: LIMITS, scratch: folder };
  /** Files with these names, in a new folder: formats look at names. */
  const filesOf = async (files: Record<string, Buffer>): Promise<Record<string, string>> => {
    const paths: Record<string, string> = {};
    for (const [name, bytes] of Object.entries(files)) {
      paths[name] = join(await mkdtemp(join(folder, 'file-')), name);
      await writeFile(paths[name], bytes);
    }
    return paths;
  };
  return {
    folder,
    options,
    sign: async (name, bytes, more = {}) => {
      const all = { ...options, inside: 'sign' as const, ...more };
      const { [name]: input = '' } = await filesOf({ [name]: bytes });
      const output = `${input}.signed`;
      const plan = await planFile(input, all);
      const signed = await signFile(input, output, all);
      return { plan, signed, bytes: await readFile(output), places: signed.signed.map(shownPlace) };
    },
    verify: async (name, bytes, more = {}) => {
      const { [name]: path = '' } = await filesOf({ [name]: bytes });
      return verifyFile(path, { ...common, ...more });
    },
    prove: async (name, original, signed) => {
      const [{ [name]: before = '' }, { [name]: after = '' }] = [
        await filesOf({ [name]: original }),
        await filesOf({ [name]: signed }),
      ];
      return proveFile(before, after, common);
    },
    attach: async (name, original, signed) => {
      const { [name]: input = '' } = await filesOf({ [name]: original });
      const wanted = signed.map(({ path, inside, before, after, signature }) => ({
        path,
        inside,
        before: before.sha256,
        after: after.sha256,
        signature,
      }));
      await attachToFile(input, wanted, `${input}.attached`, common);
      return readFile(`${input}.attached`);
    },
  };
}

const openBytes = (bytes: Buffer, name: string): ReturnType<typeof openSignableFile> =>
  openSignableFile(new BufferSource(bytes, name));

export const isSigned = async (bytes: Buffer, name = 'it.exe'): Promise<boolean> =>
  (await openBytes(bytes, name)).signatures.length > 0;

/** The files in a zip or a box. */
async function filesIn(bytes: Buffer, folder: string): Promise<Record<string, Buffer>> {
  const files: Record<string, Buffer> = {};
  if (bytes.subarray(0, 2).toString() === 'PK') {
    const path = join(await mkdtemp(join(folder, 'look-')), 'look.zip');
    await writeFile(path, bytes);
    const archive = await readZipFile(path);
    for (const entry of archive.entries) files[entry.path] = await contentOf(archive, entry.path);
    return files;
  }
  const container = await (await openBytes(bytes, 'it.box')).container?.(LIMITS);
  for await (const { member, content } of container?.read(() => true) ?? []) {
    const parts: Buffer[] = [];
    for await (const part of content) parts.push(part);
    files[member.path] = Buffer.concat(parts);
  }
  return files;
}

/** The file at a place: the names of the containers, then its own. */
export async function fileAt(folder: string, bytes: Buffer, ...names: string[]): Promise<Buffer> {
  let current = bytes;
  for (const name of names) current = (await filesIn(current, folder))[name] ?? assert.fail(`no ${name}`);
  return current;
}
