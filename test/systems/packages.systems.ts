/** The packages of a release, each installed and used as its users do. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { Ajv } from 'ajv';
import { providePackageTools } from './package-tools.ts';

const execute = promisify(execFile);
const root = resolve(import.meta.dirname, '../..');
const NODES = [20, 22, 24, 26];

let folder = '';
let packages = '';
/** A clone, since making packages compiles: other tests run the program of this folder. */
let clone = '';

/** Runs a program with an environment that is independent of this test run; returns both outputs. */
async function run(
  program: string,
  args: readonly string[],
  cwd = folder,
  more: NodeJS.ProcessEnv = {},
): Promise<string> {
  const { NODE_TEST_CONTEXT: _, ...environment } = process.env;
  const env = { ...environment, ...more };
  const { stdout, stderr } = await execute(program, args, { cwd, env, maxBuffer: 2 ** 26 });
  return stdout + stderr;
}

const makePackages = (to: string, more: NodeJS.ProcessEnv = {}): Promise<string> =>
  run('sh', ['-c', `umask ${more['UMASK'] ?? '022'}; npm run -s package -- ${to}`], clone, more);

/** The name of the package with this ending. */
async function named(ending: RegExp): Promise<string> {
  const name = (await readdir(packages)).find((each) => ending.test(each));
  assert.ok(name, String(ending));
  return join(packages, name);
}

before(async () => {
  providePackageTools();
  folder = await mkdtemp(join(tmpdir(), 'signpipe-packages-'));
  packages = join(folder, 'packages');
  clone = join(folder, 'clone');
  await run('git', ['clone', '-q', root, clone]);
  await run('ln', ['-s', join(root, 'node_modules'), join(clone, 'node_modules')]);
  await run('sh', ['-c', 'echo node_modules >> .git/info/exclude'], clone);
  await makePackages(packages);
});
after(() => rm(folder, { recursive: true, force: true }));

describe('the packages', () => {
  it('are the same bytes when they are built again, in another folder, time zone and umask', async () => {
    const again = join(folder, 'again');
    await makePackages(again, { TZ: 'Pacific/Auckland', LC_ALL: 'C', UMASK: '077' });
    assert.ok((await readdir(packages)).length >= 3);
    for (const name of await readdir(packages))
      assert.ok((await readFile(join(packages, name))).equals(await readFile(join(again, name))), name);
  });

  it('have a bill of materials that is valid CycloneDX 1.6 and names what is bundled and installed', async () => {
    await run('npm', [
      'install',
      '--no-audit',
      '--no-fund',
      '--ignore-scripts',
      '--omit=optional',
      '--prefix',
      join(folder, 'cyclonedx'),
      '@cyclonedx/cyclonedx-library',
    ]);
    const schemas = join(folder, 'cyclonedx/node_modules/@cyclonedx/cyclonedx-library/res/schema');
    const read = async (name: string) => JSON.parse(await readFile(join(schemas, name), 'utf8')) as object;
    const ajv = new Ajv({ strict: false, validateFormats: false });
    for (const name of await readdir(schemas))
      if (/^(?:spdx|jsf).*\.schema\.json$/.test(name))
        ajv.addSchema(await read(name), `http://cyclonedx.org/schema/${name}`);
    const [schema = ''] = (await readdir(schemas)).filter((name) => /^bom-1\.6.*\.json$/.test(name));
    const validate = ajv.compile(await read(schema));
    const bom = JSON.parse(await readFile(await named(/\.cdx\.json$/), 'utf8')) as {
      components: { name: string; hashes: unknown[]; properties: { value: string }[] }[];
    };
    assert.ok(validate(bom), JSON.stringify(validate.errors, null, 1));
    const shipped = new Map(bom.components.map(({ name, properties }) => [name, properties[0]?.value]));
    assert.equal(shipped.get('zod'), 'bundled');
    assert.equal(shipped.get('ssh2'), 'installed');
    assert.equal(shipped.get('typescript'), undefined);
    for (const { name, hashes } of bom.components) assert.equal(hashes.length, 1, name);
  });
});

describe('the package for npm, in an empty folder', () => {
  for (const version of NODES)
    it(`on Node ${version}: installs few packages, runs the demo, signs and verifies`, async () => {
      const place = join(folder, `node-${version}`);
      const name = `node-${process.platform}-${process.arch}`;
      await run('npm', [
        'install',
        '--no-audit',
        '--no-fund',
        '--prefix',
        join(place, 'node'),
        `${name}@${version}`,
      ]);
      const node = join(place, 'node/node_modules', name, 'bin/node');
      const home = join(place, 'empty');
      await mkdir(home);
      await run('npm', ['install', '--no-audit', '--no-fund', '--prefix', home, await named(/\.tgz$/)]);
      const installed = await readdir(join(home, 'node_modules'), { recursive: true });
      const count = installed.filter((path) =>
        /^(?:[^/]+|.*node_modules\/[^/]+)\/package\.json$/.test(path),
      ).length;
      assert.ok(count <= 12, `${count} packages`);
      const signpipe = (...args: string[]): Promise<string> =>
        run(node, [join(home, 'node_modules/signpipe/dist/main.js'), ...args], home, {
          PATH: `${dirname(node)}:${process.env['PATH'] ?? ''}`,
        });
      const demo = join(place, 'demo');
      assert.match(await signpipe('demo', '--dir', demo), /3 programs are signed[^]*and nothing else/);
      const sample = join(home, 'node_modules/signpipe/dist/sample/ps-list/vendor/fastlist-0.3.0-x64.exe');
      await cp(sample, join(home, 'a.exe'));
      await signpipe('init', 'signer', join(place, 'signer'), '--test-certificate');
      const key = [
        '--pfx',
        join(place, 'signer/keys/codesign.pfx'),
        '--passphrase-file',
        join(place, 'signer/keys/passphrase'),
      ];
      await signpipe('sign', 'a.exe', ...key, '--output', 'signed.exe');
      assert.match(
        await signpipe('verify', 'signed.exe', '--original', 'a.exe', '--any-signer'),
        /nothing else/,
      );
      assert.match(await signpipe('completion', 'bash'), /complete -F _signpipe signpipe/);
    });

  it('contains no file that is made for one version of Node, and the licences of what is compiled in', async () => {
    const list = await run('tar', ['-tzf', await named(/\.tgz$/)]);
    assert.doesNotMatch(list, /\.cache$/m);
    assert.match(list, /^package\/dist\/THIRD-PARTY-NOTICES\.txt$/m);
  });
});

describe('the Debian packages', () => {
  it('have no finding of lintian', async () => {
    const debs = (await readdir(packages)).filter((name) => name.endsWith('.deb'));
    assert.equal(debs.length, 2);
    const args = ['--allow-root', '--fail-on', 'error,warning', ...debs.map((name) => join(packages, name))];
    assert.doesNotMatch(await run('lintian', args), /^[EW]:/m);
  });

  it('install with apt in Debian 13, run the demo, load the module for tokens; a purge leaves the keys', async () => {
    const system = join(folder, 'debian');
    await run('mmdebstrap', [
      '--variant=minbase',
      '--include=adduser,man-db,bash-completion',
      'trixie',
      system,
    ]);
    for (const name of await readdir(packages))
      if (name.endsWith('.deb')) await cp(join(packages, name), join(system, 'root', name));
    const inside = (command: string): Promise<string> =>
      run('chroot', [system, 'sh', '-ec', command], folder, {
        DEBIAN_FRONTEND: 'noninteractive',
        NODE_EXTRA_CA_CERTS: undefined,
      });
    await inside(
      'rm -f /etc/dpkg/dpkg.cfg.d/*; apt-get update -q; apt-get install -yq --no-install-recommends /root/*.deb',
    );
    assert.match(
      await inside('cd /root && signpipe demo --dir demo'),
      /3 programs are signed[^]*and nothing else/,
    );
    assert.match(
      await inside('id -un signpipe; stat -c "%U %a" /var/lib/signpipe'),
      /^signpipe\nsignpipe 750\n/,
    );
    assert.match(
      await inside('cd /usr/lib/signpipe/dist && node -p "typeof require(\'pkcs11js\').PKCS11"'),
      /function/,
    );
    assert.match(await inside('man signpipe-submit | cat'), /Upload\s+files\s+and\s+request\s+signatures/);
    assert.match(
      await inside('grep -h ExecStart= /usr/lib/systemd/system/signpipe-*.service'),
      /=\/usr\/bin\/signpipe watch/,
    );
    assert.match(
      await inside(
        'bash -c ". /usr/share/bash-completion/bash_completion; _comp_load signpipe 2>/dev/null || _completion_loader signpipe; complete -p signpipe"',
      ),
      /_signpipe/,
    );
    await inside('signpipe init signer /var/lib/signpipe --test-certificate');
    await inside('apt-get purge -yq signpipe signpipe-pkcs11');
    assert.match(await inside('ls /var/lib/signpipe/keys'), /codesign\.pfx/);
    assert.equal(await inside('ls -d /usr/lib/signpipe /usr/bin/signpipe 2>/dev/null || true'), '');
  });
});

describe('the files for shells', () => {
  it('the manual pages have no warning of groff and mandoc', async () => {
    const pages = join(root, 'dist/man');
    for (const name of await readdir(pages)) {
      assert.equal(await run('mandoc', ['-Tlint', '-W', 'warning', join(pages, name)]), '', name);
      const groff = await run('sh', [
        '-c',
        `man --warnings -l "$1" 2>&1 >/dev/null`,
        'sh',
        join(pages, name),
      ]);
      assert.equal(groff, '', name);
    }
  });

  it('fish completes commands, options, choices and files', async () => {
    const complete = (line: string): Promise<string> =>
      run(
        'fish',
        [
          '--no-config',
          '-c',
          'source $argv[1]; complete -C $argv[2]',
          join(root, 'dist/completion/signpipe.fish'),
          line,
        ],
        root,
        { HOME: folder },
      );
    assert.match(await complete('signpipe sig'), /^signature\b/m);
    assert.match(await complete('signpipe signature at'), /^attach\b/m);
    assert.match(await complete('signpipe watch --on'), /^--once\b/m);
    assert.match(await complete('signpipe sign --digest sha5'), /^sha512\b/m);
    assert.match(await complete('signpipe verify package.j'), /^package\.json\b/m);
    assert.match(await complete('signpipe init vou'), /^voucher\b/m);
  });

  it('zsh completes commands, options, choices and files', async () => {
    const driver = join(import.meta.dirname, 'zsh-completion.zsh');
    const lines = [
      'signpipe signatu',
      'signpipe signature att',
      'signpipe watch --onc',
      'signpipe sign --digest sha5',
      'signpipe verify package.j',
      'signpipe init vouc',
    ];
    const output = await run('zsh', ['-f', driver, join(root, 'dist/completion'), ...lines], root, {
      HOME: folder,
      TERM: 'dumb',
    });
    for (const completed of ['signature ', 'attach ', '--once ', 'sha512 ', 'package.json ', 'voucher '])
      assert.ok(output.includes(completed), `${completed}\n${output}`);
  });
});

describe('a release', () => {
  it('is signed, and checked by the commands of docs/releasing.md', async () => {
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'key')]);
    await run('minisign', [
      '-G',
      '-W',
      '-s',
      join(folder, 'minisign.key'),
      '-p',
      join(folder, 'release.pub'),
    ]);
    const release = join(folder, 'release');
    const keys = ['--ssh', join(folder, 'key'), '--minisign', join(folder, 'minisign.key')];
    await run('npm', ['run', '-s', 'release', '--', ...keys, release], clone);
    const key = await readFile(join(folder, 'key.pub'), 'utf8');
    await writeFile(join(release, 'release_signers'), `release@signpipe namespaces="file" ${key}`);
    await cp(join(folder, 'release.pub'), join(release, 'release.pub'));
    const document = await readFile(join(root, 'docs/releasing.md'), 'utf8');
    const blocks = [...document.matchAll(/^```sh release\n([^]*?)^```$/gm)].map(([, text = '']) => text);
    assert.equal(blocks.length, 2);
    const output = await run('sh', ['-ec', blocks.join('\n')], release);
    assert.match(output, /Good "file" signature for release@signpipe/);
    assert.match(output, /Signature and comment signature verified/);
    assert.match(output, /^signpipe_.*_all\.deb: OK$/m);
    const commit = (await run('git', ['rev-parse', 'HEAD'], root)).trim();
    assert.ok(output.includes(commit), 'the provenance names the commit');
    assert.match(output, /^zod \d/m);
    await writeFile(join(clone, 'README.md'), 'changed');
    await assert.rejects(
      run('npm', ['run', '-s', 'release', '--', ...keys, `${release}-2`], clone),
      /a release is made of a commit alone/,
    );
  });
});
