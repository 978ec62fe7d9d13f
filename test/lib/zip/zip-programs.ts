/** Zips made by other tools from one small tree of files. */
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createZip, filesOfFolder } from '../../../src/lib/zip/create-zip.ts';
import { forge, run, sample, save } from './zips.ts';

/** The program that tests replace, in every archive. */
export const PROGRAM = 'bin/app.exe';

export async function makeTree(folder: string): Promise<string> {
  const tree = join(folder, 'tree');
  await mkdir(join(tree, 'bin'), { recursive: true });
  await mkdir(join(tree, 'empty'));
  await writeFile(join(tree, PROGRAM), sample(300_000, 7));
  await chmod(join(tree, PROGRAM), 0o755);
  await writeFile(join(tree, 'bin/größe.dll'), sample(90_000, 8));
  await writeFile(join(tree, 'readme.txt'), 'read me\n'.repeat(2000));
  await writeFile(join(tree, 'nothing'), '');
  await symlink('readme.txt', join(tree, 'link'));
  return tree;
}

type Maker = (tree: string, output: string) => Promise<unknown>;

const zip =
  (...options: string[]): Maker =>
  (tree, output) =>
    run('zip', ['-qr', ...options, output, '.'], { cwd: tree });

const shell =
  (command: string): Maker =>
  (tree, output) =>
    run('sh', ['-c', command, 'sh', output], { cwd: tree });

const PYTHON_HEAD = `
import os, sys, zipfile
names = ['bin/', 'bin/app.exe', 'readme.txt', 'nothing']
`;
const python =
  (body: string): Maker =>
  (tree, output) =>
    run('python3', ['-c', PYTHON_HEAD + body, output], { cwd: tree });

/** Folders that are deflated and have a data descriptor, as Java's jar makes them. */
async function javaLike(_tree: string, output: string): Promise<void> {
  const bytes = forge([
    { name: 'bin/', flags: 0x808 },
    { name: PROGRAM, content: sample(300_000, 7), flags: 0x808 },
    { name: 'META-INF/MANIFEST.MF', content: 'Manifest-Version: 1.0\r\n', flags: 0x808 },
  ]);
  await save(output.slice(0, output.lastIndexOf('/')), output.slice(output.lastIndexOf('/') + 1), bytes);
}

export const MAKERS: Record<string, Maker> = {
  'zip, with uid, gid and times': zip(),
  'zip -X -9': zip('-X', '-9'),
  'zip -0': zip('-0'),
  'zip -y, a symbolic link': zip('-y'),
  'zip -D, no folders': zip('-D'),
  'zip -fd, data descriptors': zip('-fd'),
  'zip -fz, zip64': zip('-fz'),
  'zip to a pipe': shell('zip -qr - . | cat > "$1"'),
  'zip from a pipe': shell(
    'mkdir -p bin && zip -q "$1" readme.txt && cat bin/app.exe | zip -q "$1" - && printf "@ -\\n@=bin/app.exe\\n" | zipnote -w "$1"',
  ),
  'zip -Z bzip2, except for the program': shell(
    'zip -q "$1" bin/app.exe && zip -qr -Z bzip2 "$1" . -x bin/app.exe',
  ),
  'zip -z, a comment': shell('printf "made for a test" | zip -qrz "$1" .'),
  'zip -UN=UTF8': zip('-UN=UTF8'),
  'Python, stored and deflated': python(`
with zipfile.ZipFile(sys.argv[1], 'w') as z:
  for n in names: z.write(n, compress_type=zipfile.ZIP_STORED if n == 'readme.txt' else zipfile.ZIP_DEFLATED)
`),
  'Python, LZMA and bzip2 beside the program': python(`
methods = {'readme.txt': zipfile.ZIP_LZMA, 'nothing': zipfile.ZIP_BZIP2}
with zipfile.ZipFile(sys.argv[1], 'w') as z:
  for n in names: z.write(n, compress_type=methods.get(n, zipfile.ZIP_DEFLATED))
`),
  'Python, zip64 forced': python(`
with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as z:
  for n in names[1:]:
    with z.open(n, 'w', force_zip64=True) as f: f.write(open(n, 'rb').read())
`),
  'Python to a pipe, zip64 forced': python(`
class Pipe:
  def __init__(self, f): self.f = f
  def write(self, b): return self.f.write(b)
  def flush(self): self.f.flush()
with open(sys.argv[1], 'wb') as out, zipfile.ZipFile(Pipe(out), 'w', zipfile.ZIP_DEFLATED) as z:
  for n in names[1:]:
    with z.open(n, 'w', force_zip64=True) as f: f.write(open(n, 'rb').read())
`),
  'Python, comments, extra fields and a name in code page 437': python(`
class Old(zipfile.ZipInfo):
  def _encodeFilenameFlags(self): return self.filename.encode('cp437'), self.flag_bits
with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as z:
  old = Old('gr\\u00f6\\u00dfe.txt', (1999, 12, 31, 23, 59, 58)); old.create_system = 0
  z.writestr(old, 'old name')
  i = zipfile.ZipInfo('bin/app.exe', (2001, 2, 3, 4, 5, 6)); i.compress_type = 8
  i.comment = b'the program'; i.extra = b'\\xfe\\xca\\x03\\x00abc'; i.external_attr = 0o755 << 16
  z.writestr(i, open('bin/app.exe', 'rb').read())
  z.writestr('readme.txt', 'x' * 1000)
  z.comment = b'archive comment \\xff'
`),
  '7z': (tree, output) => run('7z', ['a', '-tzip', output, '.'], { cwd: tree }),
  '7z, Deflate64 and LZMA beside the program': shell(
    '7z a -tzip "$1" bin/app.exe && 7z a -tzip -mm=Deflate64 "$1" readme.txt && 7z a -tzip -mm=LZMA "$1" nothing bin/größe.dll',
  ),
  yazl: async (tree, output) => {
    const files = [...(await filesOfFolder(join(tree, 'bin')))];
    await createZip(
      files.map(({ path, name }) => ({ path, name: `bin/${name}` })),
      output,
    );
  },
  'Java-like': javaLike,
};
