/** Files that are broken, or made to break something: refused with a code of their own, and nothing in them is signed. */
import { buildPe, filler, peLayout, winCertificate } from '../../fixtures/pe.ts';
import { forge, type Forged } from '../../lib/zip/zips.ts';
import { program, refusesAll, sending, soundZip, type Case } from './test-signer.ts';

const app: Forged = { name: 'bin/app.exe', content: program(1) };

/** A zip with a valid program and something bad. */
const zipWith = (...bad: Forged[]): Buffer => forge([app, ...bad]);

const zipOf = (content: Buffer): Buffer => forge([{ name: 'bin/app.exe', content }]);

const unsafe = (what: string, name: string, says: RegExp): Case => ({
  what,
  make: sending(`${what.replaceAll(/[^a-z]+/g, '-')}.zip`, zipWith({ name, content: 'x' })),
  code: 'zip-entry-path-unsafe',
  says,
  hint: /pack/,
});

refusesAll(
  'zips that are broken or hostile',
  { lines: 'limits: { archive: 300KiB, entries: 50, entry: 2MiB, ratio: 200 }' },
  [
    {
      what: 'a text with the name of a zip',
      make: sending('text.zip', Buffer.from('this is not a zip')),
      code: 'not-signable',
      says: /^text\.zip: neither a zip nor a file that can be signed$/,
      hint: /give a \.zip/,
    },
    {
      what: 'a signed JAR under the name of a zip',
      make: sending('jar.zip', zipWith({ name: 'META-INF/RELEASE.SF', content: 'x' })),
      code: 'zip-is-package',
      says: /^jar\.zip: is a signed JAR or APK package \(it holds META-INF\/RELEASE\.SF\)/,
      hint: /sign its programs before packing/,
    },
    {
      what: 'a program under the name of a zip, at its end a zip as unpackers see it',
      make: sending('both.zip', Buffer.concat([program(3), soundZip(3)])),
      code: 'zip-is-program',
      says: /^both\.zip: its name says zip, but its content is that of a program \(pe\)$/,
      hint: /a name with its own extension \(\.exe\)/,
    },
    {
      what: 'a lone program that signing.files does not name',
      make: sending('driver.sys', program(4)),
      code: 'nothing-to-sign',
      says: /^driver\.sys: nothing to sign: signing\.files does not name this program$/,
      hint: /add "driver\.sys" or "\*\*\/\*\.sys" to signing\.files/,
    },
    {
      what: 'an empty file',
      make: sending('empty.zip', Buffer.alloc(0)),
      code: 'not-signable',
      says: /^empty\.zip: /,
      hint: /give a \.zip/,
    },
    {
      what: 'a zip cut in the middle of an entry',
      make: sending('cut.zip', soundZip(2).subarray(0, 400)),
      code: 'zip-truncated',
      says: /^cut\.zip: /,
      hint: /transfer the file again/,
    },
    {
      what: 'a zip without its last ten bytes',
      make: sending('short.zip', soundZip(2).subarray(0, -10)),
      code: 'zip-truncated',
      says: /^short\.zip: /,
      hint: /transfer the file again/,
    },
    unsafe(
      'leads out with ..',
      '../../etc/cron.d/x',
      /^leads-out-with-\.zip: .*"\.\.\/\.\.\/etc\/cron\.d\/x"/,
    ),
    unsafe('absolute name', '/etc/passwd', /^absolute-name\.zip: .*"\/etc\/passwd"/),
    unsafe('drive letter', 'C:\\Windows\\x.dll', /^drive-letter\.zip: .*Windows/),
    unsafe('backslashes lead out', '..\\..\\x.dll', /^backslashes-lead-out\.zip: /),
    unsafe(
      'control character',
      'bin/\u001b[31mred.exe',
      /^control-character\.zip: entry 2: has control characters in its name$/,
    ),
    {
      what: 'two entries of one name',
      make: sending('twice.zip', zipWith({ ...app, content: program(2) })),
      code: 'zip-entry-duplicate',
      says: /^twice\.zip: .*"bin\/app\.exe"/,
      hint: /build the file again/,
    },
    {
      what: 'two names that are one on Windows',
      make: sending('case.zip', zipWith({ name: 'BIN/APP.EXE', content: program(2) })),
      code: 'zip-entry-duplicate',
      says: /^case\.zip: .*"BIN\/APP\.EXE"/,
      hint: /build the file again/,
    },
    {
      what: 'two entries that share their bytes',
      make: sending(
        'overlap.zip',
        zipWith({ name: 'b.txt', content: 'x', central: (h) => h.writeUInt32LE(0, 42) }),
      ),
      code: 'zip-entries-overlap',
      says: /^overlap\.zip: /,
      hint: /build the file again/,
    },
    {
      what: 'an entry that reaches into the next',
      make: sending(
        'reach.zip',
        forge([
          {
            name: 'a.txt',
            content: 'abc',
            method: 0,
            local: (h) => [18, 22].forEach((at) => h.writeUInt32LE(40, at)),
            central: (h) => [20, 24].forEach((at) => h.writeUInt32LE(40, at)),
          },
          app,
        ]),
      ),
      code: 'zip-entries-overlap',
      says: /^reach\.zip: /,
      hint: /build the file again/,
    },
    {
      what: 'a local header that names another size than the directory',
      make: sending(
        'disagree.zip',
        zipWith({
          name: 'b.txt',
          content: 'abc',
          local: (h) => h.writeUInt32LE(9, 22),
          central: (h) => h.writeUInt32LE(3, 24),
        }),
      ),
      code: 'zip-headers-disagree',
      says: /^disagree\.zip: .*"b\.txt"/,
      hint: /build the file again/,
    },
    {
      what: 'an encrypted entry',
      make: sending('secret.zip', zipWith({ name: 'secret.txt', content: 'x', flags: 0x801 })),
      code: 'zip-entry-encrypted',
      says: /^secret\.zip: .*"secret\.txt"/,
      hint: /unencrypted/,
    },
    {
      what: 'a program that inflates a thousandfold',
      make: sending('bomb.zip', forge([{ name: 'bomb.exe', content: Buffer.alloc(1024 * 1024 + 1) }])),
      code: 'zip-bomb',
      says: /^bomb\.zip: .*\d+ bytes would unpack to 1048577$/,
      hint: /limits\.ratio/,
    },
    {
      what: 'a program larger than limits.entry',
      make: sending('wide.zip', zipWith({ name: 'wide.exe', content: Buffer.alloc(3 * 1024 * 1024) })),
      code: 'zip-entry-too-large',
      says: /^wide\.zip: .*"wide\.exe".*3145728/,
      hint: /limits\.entry/,
    },
    {
      what: 'more entries than limits.entries',
      make: sending('many.zip', forge(Array.from({ length: 51 }, (_, i) => ({ name: `${i}.txt` })))),
      code: 'zip-too-many-entries',
      says: /^many\.zip: .*51/,
      hint: /limits\.entries/,
    },
    {
      what: 'a file larger than limits.archive',
      make: sending('huge.zip', forge([{ name: 'x.bin', method: 0, content: filler(310 * 1024) }])),
      code: 'exchange-file-too-large',
      says: /huge\.zip: \d+ bytes, more than the 307200 allowed/,
      hint: /limits\.archive/,
    },
    {
      what: 'a program whose checksum is not that of its bytes',
      make: sending(
        'damaged.zip',
        forge([{ name: 'bin/app.exe', content: program(3), data: program(4), method: 0 }]),
      ),
      code: 'zip-entry-damaged',
      says: /^damaged\.zip.*bin\/app\.exe/,
      hint: /pack the zip again/,
    },
  ],
);

refusesAll('programs that cannot be signed', {}, [
  {
    what: 'a text named .exe in a zip',
    make: sending('text-exe.zip', zipOf(Buffer.from('#!/bin/sh\n'))),
    code: 'not-a-program',
    says: /^text-exe\.zip!\/bin\/app\.exe: signing\.files names it, but it is no file that can be signed$/,
    hint: /exclude it/,
  },
  {
    what: 'a program for DOS',
    make: sending('dos.zip', zipOf(Buffer.concat([Buffer.from('MZ'), Buffer.alloc(500)]))),
    code: 'not-a-program',
    says: /^dos\.zip!\/bin\/app\.exe: /,
    hint: /exclude it/,
  },
  {
    what: 'a program cut in its headers',
    make: sending('cut-pe.zip', zipOf(program(5).subarray(0, 200))),
    code: 'pe-truncated',
    says: /^cut-pe\.zip!\/bin\/app\.exe: /,
    hint: /build or copy it again/,
  },
  {
    what: 'a lone program cut in its sections',
    make: sending('cut.exe', program(6).subarray(0, 900)),
    code: 'pe-truncated',
    says: /^cut\.exe: /,
    hint: /build or copy it again/,
  },
  {
    what: 'bytes behind the certificate table',
    make: sending(
      'behind.exe',
      buildPe({ certificates: winCertificate(filler(40)), afterCertificates: filler(16) }),
    ),
    code: 'pe-table-not-at-end',
    says: /^behind\.exe: /,
    hint: /start from the unsigned file/,
  },
  {
    what: 'a certificate table beyond the end',
    make: sending('beyond.exe', buildPe({ certificateDirectory: { offset: 1 << 20, size: 64 } })),
    code: 'pe-table-out-of-range',
    says: /^beyond\.exe: /,
    hint: /start from the unsigned file/,
  },
  {
    what: 'no place for a signature in the headers',
    make: sending('no-place.exe', buildPe({ directories: 4 })),
    code: 'pe-no-certificate-directory',
    says: /^no-place\.exe: /,
    hint: /NumberOfRvaAndSizes/,
  },
  {
    what: 'a machine that claims more sections than there are bytes',
    make: (signer) => {
      const bytes = program(7);
      bytes.writeUInt16LE(0xffff, peLayout().header + 6);
      return signer.send('sections.exe', bytes);
    },
    code: 'pe-truncated',
    says: /^sections\.exe: /,
    hint: /build or copy it again/,
  },
]);
