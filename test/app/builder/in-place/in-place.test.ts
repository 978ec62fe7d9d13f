/** Loose files in the middle of a build are replaced by their signed versions. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { chmod, link, lstat, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { replaceAll } from '../../../../src/app/builder/in-place/replace-all.ts';
import type { StagedVersion } from '../../../../src/app/builder/in-place/signed-versions.ts';
import {
  signInPlace,
  type InPlaceOptions,
  type SignedInPlace,
} from '../../../../src/app/builder/in-place/sign-in-place.ts';
import { withSession } from '../../../../src/app/builder/session.ts';
import { loadBuilderConfig } from '../../../../src/app/config/builder.ts';
import { SignpipeError } from '../../../../src/lib/errors.ts';
import { noProgress } from '../../../../src/lib/progress.ts';
import { receiptsFor, startHostile } from '../../../world/hostile.ts';
import { assertRefused, signpipe, type Ended } from '../../../world/site.ts';
import { program } from '../../signer/test-signer.ts';

const { world } = await startHostile();
await world.keepSigner();

let seed = 0;
/** Writes a program in the build folder, different from all others. */
async function build(name: string, bytes = program((seed += 1))): Promise<string> {
  const path = world.at('build', name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes);
  return path;
}

/** Runs some work while a signer polls, each time that there are new commits. */
async function whileSigning<T>(work: Promise<T>): Promise<T> {
  const ended = new AbortController();
  const finished = work.finally(() => ended.abort());
  const requests = join(world.control, 'refs', 'heads', 'main');
  let polled = '';
  await Promise.all([
    finished,
    world.withSigner(async (signer) => {
      while (!ended.signal.aborted) {
        const tip = await readFile(requests, 'utf8').catch(() => '');
        if (tip === polled) await sleep(20);
        else await signer.poll();
        polled = tip;
      }
    }),
  ]);
  return finished;
}

const inPlace = async (
  paths: readonly string[],
  options: Partial<InPlaceOptions> = {},
): Promise<SignedInPlace> =>
  withSession(
    await loadBuilderConfig(world.site.builderConfig),
    { progress: noProgress, say: () => {} },
    (session) => signInPlace(session, paths, { timeout: 20_000, allowTest: true, interval: 50, ...options }),
  );

const run = (...args: string[]): Promise<Ended> =>
  signpipe(['submit', '-c', world.site.builderConfig, '--in-place', '--allow-test-certificate', ...args]);

/** Asserts that a file is this one plus a signature. */
async function assertSigned(path: string, before: Buffer): Promise<void> {
  const original = world.at('original.exe');
  await writeFile(original, before);
  const { status, stdout, stderr } = await world.verify(path, original);
  assert.equal(status, 0, stdout + stderr);
}

const refusal =
  (code: string, says = /./) =>
  (error: unknown): true => {
    assert.ok(error instanceof SignpipeError && error.code === code, String(error));
    assert.match(`${error.message}; ${error.hint ?? ''}`, says);
    return true;
  };

/** No temporary file stays beside the files. */
const assertTidy = async (path: string): Promise<void> =>
  assert.deepEqual(
    (await readdir(dirname(path))).filter((name) => name.endsWith('.part')),
    [],
  );

describe('submit --in-place', () => {
  it('replaces programs in several folders, also of the same name, in one request; modes and links stay', async () => {
    const [one, two, lib] = [
      await build('a/app.exe'),
      await build('b/app.exe'),
      await build('b/read only.dll'),
    ];
    const before = await Promise.all([one, two, lib].map((path) => readFile(path)));
    await chmod(one, 0o755);
    await chmod(lib, 0o444);
    await symlink(one, world.at('build', 'app-link.exe'));
    await link(two, world.at('build', 'b', 'second-name.exe'));
    const named = [world.at('build', 'app-link.exe'), one, two, lib, lib];
    const { request, files } = await whileSigning(inPlace(named));
    assert.deepEqual(
      files.map(({ status }) => status),
      ['signed', 'signed', 'signed'],
    );
    for (const [i, path] of [one, two, lib].entries()) await assertSigned(path, before[i] ?? Buffer.alloc(0));
    assert.equal((await stat(one)).mode & 0o777, 0o755);
    assert.equal((await stat(lib)).mode & 0o777, 0o444);
    assert.ok((await lstat(world.at('build', 'app-link.exe'))).isSymbolicLink());
    assert.deepEqual(await readFile(world.at('build', 'b', 'second-name.exe')), await readFile(two));
    const [receipt] = await receiptsFor(world, request);
    assert.equal(receipt?.files.length, 1);
    await assertTidy(two);
  });

  it('takes a lone program under a name of its own, with the extension of a program, and leaves one alone that is signed already', async () => {
    const path = await build('lone/nst4F2.tmp');
    const before = await readFile(path);
    const { request } = await whileSigning(inPlace([path], { as: 'product.exe' }));
    await assertSigned(path, before);
    const [receipt] = await receiptsFor(world, request);
    assert.match(receipt?.files[0]?.input.name ?? '', /^product-[0-9a-f]{12}\.exe$/);
    const signed = await readFile(path);
    const other = await build('lone/other.exe');
    const { files } = await whileSigning(inPlace([path, other]));
    assert.deepEqual(
      files.map(({ status }) => status),
      ['kept', 'signed'],
    );
    assert.deepEqual(await readFile(path), signed);
  });

  it('works for many builds at once, and takes names from a list', async () => {
    const paths = await Promise.all([0, 1, 2, 3].map((i) => build(`parallel-${i}/app.exe`)));
    const list = world.at('list');
    await writeFile(list, `${paths[0]}\n\n${await build('parallel-0/b.exe')}\n`);
    const [first, ...others] = await whileSigning(
      Promise.all([run('--list', list), ...paths.slice(1).map((path) => inPlace([path]))]),
    );
    assert.equal(
      first.stdout.split('\n').filter((line) => line.startsWith('signed ')).length,
      2,
      first.stderr,
    );
    for (const { files } of others)
      assert.deepEqual(
        files.map(({ status }) => status),
        ['signed'],
      );
  });

  it('refuses what it cannot replace, before anything is uploaded', async () => {
    const good = await build('refused/good.exe');
    const text = await build('refused/notes.txt', Buffer.from('hello\n'));
    const before = await readdir(world.exchange('incoming'));
    await assert.rejects(inPlace([good, world.at('build', 'missing.exe')]), refusal('file-not-found'));
    await assert.rejects(inPlace([good, dirname(good)]), refusal('not-a-file'));
    await assert.rejects(inPlace([good, text]), refusal('in-place-not-a-program', /notes\.txt/));
    await assert.rejects(inPlace([]), refusal('in-place-nothing'));
    const pyd = await build('refused/module.pyd');
    await assert.rejects(
      inPlace([good, pyd]),
      refusal('in-place-not-signed', /module\.pyd.*it signs: .*\.exe/),
    );
    assert.deepEqual(await readdir(world.exchange('incoming')), before);
    assertRefused(await run(good, '--output', 'x'), 2, 'in-place-options');
    assertRefused(await signpipe(['submit', '-c', world.site.builderConfig]), 2, 'submit-nothing');
  });

  it('in-place-changed: replaces nothing if one of the files changed meanwhile', async () => {
    const [one, two] = [await build('changed/one.exe'), await build('changed/two.exe')];
    const before = await readFile(one);
    const later = program(9999);
    const onRequest = (): void => void writeFile(two, later);
    await assert.rejects(
      whileSigning(inPlace([one, two], { onRequest })),
      refusal('in-place-changed', /two\.exe/),
    );
    assert.deepEqual(await readFile(one), before);
    assert.deepEqual(await readFile(two), later);
    await assertTidy(one);
  });

  it('wait-timeout: cancels a request that is not answered in time', async () => {
    const path = await build('late/app.exe');
    const before = await readFile(path);
    let request = '';
    const options = { timeout: 1, onRequest: (id: string) => void (request = id) };
    await assert.rejects(inPlace([path], options), refusal('wait-timeout', /the request is cancelled/));
    await world.poll();
    const [receipt] = await receiptsFor(world, request);
    assert.equal(receipt?.reason?.code, 'request-cancelled');
    assert.deepEqual(await readFile(path), before);
  });

  /** Two files with signed versions of them, of which the second cannot be put in place. */
  async function halfStaged(
    folder: string,
    second: string,
  ): Promise<{ paths: readonly [string, string]; before: Buffer; staged: StagedVersion[] }> {
    const paths = [await build(`${folder}/one.exe`), await build(`${folder}/two.exe`)] as const;
    const first = world.at('build', folder, '.new.part');
    await writeFile(first, 'signed');
    const staged = paths.map((path, i) => ({
      version: {
        target: { given: path, path, name: '', kind: 'program' as const },
        status: 'signed' as const,
        from: '',
      },
      temporary: i === 0 ? first : second,
    }));
    return { paths, before: await readFile(paths[0]), staged };
  }

  it('puts back what it has replaced if another file cannot be', async () => {
    const { paths, before, staged } = await halfStaged('rollback', world.at('missing.part'));
    await assert.rejects(replaceAll(staged));
    assert.deepEqual(await readFile(paths[0]), before);
    await assertTidy(paths[0]);
  });

  it('replace-unfinished: puts back a file with hard links too that was overwritten in part', async () => {
    const short = world.at('build', 'in-part', '.short.part');
    const { paths, before, staged } = await halfStaged('in-part', short);
    // Linux says that this file has 4096 bytes, and gives fewer.
    await symlink('/sys/class/net/lo/mtu', short);
    const [, two] = paths;
    const content = Buffer.concat([await readFile(two), Buffer.alloc(4096)]);
    await writeFile(two, content);
    await link(two, `${two}.link`);
    await assert.rejects(replaceAll(staged), refusal('replace-unfinished', /old content was put back/));
    assert.deepEqual(await readFile(paths[0]), before);
    for (const path of [two, `${two}.link`]) assert.deepEqual(await readFile(path), content);
    await assertTidy(two);
  });

  it('in-place-mixed: keeps the old content of a file that cannot be put back, and puts back the others', async () => {
    const { paths, before, staged } = await halfStaged('mixed', world.at('missing.part'));
    const gone = await build('mixed/gone.exe');
    const old = await readFile(gone);
    const temporary = world.at('build', 'mixed', '.gone.part');
    await writeFile(temporary, 'signed');
    const [one, two] = staged.map(({ version }) => version);
    assert.ok(one && two);
    const target = { ...one.target, given: gone, path: gone };
    let backup = '';
    await assert.rejects(
      replaceAll([
        ...staged.slice(0, 1),
        { version: { ...one, target }, temporary },
        {
          version: two,
          /** Just before the last file would be replaced, the one before it disappears. */
          get temporary() {
            rmSync(gone, { force: true });
            return world.at('missing.part');
          },
        },
      ]),
      (error: unknown) => {
        backup = /old content is in (\S+)/.exec((error as SignpipeError).message)?.[1] ?? '';
        return refusal('in-place-mixed', /gone\.exe/)(error);
      },
    );
    assert.deepEqual(await readFile(backup), old);
    assert.deepEqual(await readFile(paths[0]), before);
  });
});
