/** What a request may name, and who may request: refused because of the commit alone, or of the pins. */
import { writeFile } from 'node:fs/promises';
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { signProgram } from '../../../src/engine/authenticode/sign.ts';
import { createTestCertificate, testSigningKey } from '../../../src/sandbox/certificates.ts';
import { generateSshKey } from '../../../src/lib/ssh/generate-key.ts';
import { bytesOf, openBytes } from '../../engine/authenticode/tools.ts';
import { forge } from '../../lib/zip/zips.ts';
import { TestSigner, program, refusesAll, sending, sha256, soundZip, type Case } from './test-signer.ts';

const HEX = 'ab'.repeat(32);

/** Makes a request with this zipname. */
const naming = (what: string, zipname: string | Buffer, code: string, says: RegExp, hint: RegExp): Case => ({
  what,
  make: (signer) => signer.ask(zipname),
  code,
  says,
  hint,
});

const relative = /write a relative path, or what sha256sum prints/;

refusesAll('names that no file may have', {}, [
  naming(
    'climbs out with ..',
    `${HEX}  ../../etc/shadow.zip\n`,
    'zipname-name',
    /line 1: .*\.\.\/\.\.\/etc\/shadow\.zip" has a segment \. or \.\./,
    relative,
  ),
  naming(
    'absolute',
    `${HEX}  /etc/shadow.zip\n`,
    'zipname-name',
    /is empty, absolute, or has an empty segment/,
    relative,
  ),
  naming(
    'a control character',
    `${HEX}  red\u001b[31m.zip\n`,
    'zipname-name',
    /red\\u\{1b\}\[31m\.zip" has characters other than/,
    relative,
  ),
  naming('a lone carriage return', `${HEX}  a.zip\rb.zip\n`, 'zipname-name', /a\.zip\\rb\.zip"/, relative),
  naming(
    'an option in place of a name',
    `${HEX}  -oProxyCommand=x.zip\n`,
    'zipname-name',
    /begins with -/,
    relative,
  ),
  naming('another alphabet', `${HEX}  сборка.zip\n`, 'zipname-name', /сборка\.zip"/, relative),
  naming(
    '300 letters',
    `${HEX}  ${'a'.repeat(300)}.zip\n`,
    'zipname-name-too-long',
    /is longer than 255 bytes/,
    relative,
  ),
  naming('nothing but a comment', '# later\n', 'zipname-empty', /zipname names no file/, /name/),
  naming(
    'not UTF-8',
    Buffer.from([0xff, 0xfe, 0x41, 0x00]),
    'zipname-encoding',
    /zipname is not UTF-8/,
    /UTF-8/,
  ),
  naming('twice the same', `${HEX}  a.zip\n${HEX}  a.zip\n`, 'zipname-duplicate', /line 2/, /line/),
  naming(
    '101 lines',
    Array.from({ length: 101 }, (_, i) => `${HEX}  ${i}.zip\n`).join(''),
    'zipname-too-many-lines',
    /101 lines, more than 100/,
    /several requests/,
  ),
  naming(
    '65 KiB',
    `# ${'x'.repeat(66_000)}\n`,
    'zipname-too-large',
    /larger than 65536 bytes/,
    /names and digests/,
  ),
]);

const ask = (what: string, message: string, code: string, says: RegExp, hint: RegExp): Case => ({
  what,
  make: (signer) =>
    signer.send(`${what.replaceAll(/[^a-z]+/g, '-')}.zip`, soundZip(what.length), { message }),
  code,
  says,
  hint,
});

refusesAll(
  'requests that policy does not allow',
  {
    lines: `channels:
  release: { trust: { requesters: [release@sandbox] } }
  nightly: { trust: { names: ["nightly/**"] } }`,
    prepare: async (world) => {
      await generateSshKey(world.at('keys', 'stranger_ed25519'), 'stranger@elsewhere');
    },
  },
  [
    {
      what: 'a bare name',
      make: async (signer) => {
        await signer.put('bare.zip', soundZip(1));
        return signer.ask('bare.zip\n');
      },
      code: 'unpinned',
      says: /^bare\.zip: zipname does not say which bytes are meant$/,
      hint: /sha256sum bare\.zip > zipname/,
    },
    {
      what: 'an unsigned commit',
      make: (signer) => signer.send('unsigned.zip', soundZip(2), { sign: null }),
      code: 'commit-unsigned',
      says: /[0-9a-f]{12}.*not signed/,
      hint: /git commit -S/,
    },
    {
      what: 'a commit signed by an unknown key',
      make: (signer) =>
        signer.send('stranger.zip', soundZip(3), { sign: signer.world.at('keys', 'stranger_ed25519') }),
      code: 'commit-signer-unknown',
      says: /is signed by SHA256:\S+, which is not listed in keys\/allowed_signers$/,
      hint: /allowed/,
    },
    ask(
      'unknown channel',
      'x\n\nChannel: staging\n',
      'channel-unknown',
      /there is no channel "staging"/,
      /default, release, nightly/,
    ),
    ask(
      'two channels',
      'x\n\nChannel: release\nChannel: nightly\n',
      'request-trailer-repeated',
      /more than one Channel trailer/,
      /one of them/,
    ),
    ask(
      'requester not allowed',
      'x\n\nChannel: release\n',
      'requester-not-allowed',
      /builder@sandbox may not request on channel "release"/,
      /trust\.requesters/,
    ),
    ask(
      'name not allowed',
      'x\n\nChannel: nightly\n',
      'name-not-allowed',
      /name-not-allowed\.zip: files of this name/,
      /allowed are: nightly\/\*\*/,
    ),
    {
      what: 'another digest than lies there',
      make: async (signer) => {
        await signer.put('other.zip', soundZip(4));
        return signer.ask(`${HEX}  other.zip\n`);
      },
      code: 'digest-differs',
      says: new RegExp(
        `^other\\.zip: SHA-256 of what lies on the exchange is ${sha256(soundZip(4))}, zipname says ${HEX}$`,
      ),
      hint: /upload the very bytes/,
    },
    {
      what: 'a zip without anything of ours',
      make: sending('notes.zip', forge([{ name: 'notes.txt', content: 'x' }])),
      code: 'nothing-to-sign',
      says: /^notes\.zip: nothing to sign: none of its files is ours \(1 in all\)$/,
      hint: /signing\.files/,
    },
    {
      what: 'a zip of folders only',
      make: sending('folders.zip', forge([{ name: 'bin/', content: '', method: 0 }])),
      code: 'nothing-to-sign',
      says: /^folders\.zip: nothing to sign/,
      hint: /signing\.files/,
    },
    {
      what: 'an entry with another digest',
      make: async (signer) => {
        await signer.put('entry.zip', soundZip(5));
        return signer.ask(`${HEX}  entry.zip!/product/app.exe\n`);
      },
      code: 'entry-digest-differs',
      says: /^entry\.zip!\/product\/app\.exe: SHA-256 is [0-9a-f]{64}, zipname says abab/,
      hint: /upload the very bytes/,
    },
    {
      what: 'a pinned entry that is not there',
      make: async (signer) => {
        await signer.put('gone.zip', soundZip(6));
        return signer.ask(
          `${sha256(program(6))}  gone.zip!/product/app.exe\n${HEX}  gone.zip!/product/lib.dll\n`,
        );
      },
      code: 'pinned-entry-missing',
      says: /^gone\.zip: zipname pins "product\/lib\.dll"/,
      hint: /check the path/,
    },
    {
      what: 'one program pinned and another not',
      make: async (signer) => {
        await signer.put('half.zip', soundZip(7, [{ name: 'product/lib.dll', content: program(70) }]));
        return signer.ask(`${sha256(program(7))}  half.zip!/product/app.exe\n`);
      },
      code: 'entry-unpinned',
      says: /^half\.zip!\/product\/lib\.dll: zipname pins entries of this zip, but not this one$/,
      hint: /pin every program/,
    },
    {
      what: 'a pinned entry of a file that is not a zip',
      make: async (signer) => {
        await signer.put('lone.exe', program(8));
        return signer.ask(`${HEX}  lone.exe!/inner.exe\n`);
      },
      code: 'pinned-entry-missing',
      says: /^lone\.exe: zipname pins entries of it, but it is a program/,
      hint: /sha256sum/,
    },
    {
      what: 'three files of which the second is broken',
      make: async (signer) => {
        const files: [string, Buffer][] = [
          ['one.zip', soundZip(9)],
          ['two.zip', soundZip(9).subarray(0, 300)],
          ['three.zip', soundZip(10)],
        ];
        for (const [name, bytes] of files) await signer.put(name, bytes);
        return signer.ask(files.map(([name, bytes]) => `${sha256(bytes)}  ${name}\n`).join(''));
      },
      code: 'zip-truncated',
      says: /^two\.zip: /,
      hint: /transfer/,
    },
  ],
);

describe('a signer accepts', () => {
  let signer: TestSigner;
  before(async () => {
    signer = await TestSigner.open();
  });
  after(() => signer.close());

  it('a zip whose every program is pinned by its entry', async () => {
    await signer.put('pinned.zip', soundZip(1));
    const request = await signer.ask(`${sha256(program(1))}  pinned.zip!/product/app.exe\n`);
    await signer.signs(request);
  });

  it('a bare name and an unsigned commit, if the configuration says so', async () => {
    await signer.world.reconfigure((text) =>
      text.replace(
        /^ {2}allowedSigners:.*$/m,
        '  allowedSigners: keys/allowed_signers\n  unsignedRequests: accept\n  pins: accept-unpinned',
      ),
    );
    await signer.restart();
    await signer.put('bare.zip', soundZip(2));
    const request = await signer.ask('bare.zip\n', { sign: null });
    await signer.signs(request);
  });
});

/** A program that another publisher signed; if spoilt, its text section was changed after that. */
async function signedByOther(seed: number, spoilt = false): Promise<Buffer> {
  const other = await createTestCertificate({
    commonName: 'Other publisher',
    purpose: 'code-signing',
    key: 'p256',
  });
  const { content } = await signProgram(await openBytes(program(seed)), {
    key: testSigningKey(other),
    timestamper: null,
  });
  const bytes = await bytesOf(content);
  if (spoilt) bytes.writeUInt8(bytes.readUInt8(1030) ^ 1, 1030);
  return bytes;
}

describe('programs of ours that are signed already', () => {
  let signer: TestSigner;
  before(async () => {
    signer = await TestSigner.open({
      lines: `channels:
  replace: { signing: { alreadySigned: replace } }
  append: { signing: { alreadySigned: append } }
  reject: { signing: { alreadySigned: reject } }`,
    });
  });
  after(() => signer.close());

  const zipped = async (seed: number): Promise<Buffer> =>
    soundZip(seed, [{ name: 'product/theirs.dll', content: await signedByOther(seed + 500) }]);

  it('are kept, and named in the receipt, by default', async () => {
    const request = await signer.send('keep.zip', await zipped(1));
    await signer.poll();
    const { receipt } = await signer.receiptFor(request);
    assert.deepEqual(
      receipt.files[0]?.signed.map(({ path }) => path),
      ['product/app.exe'],
    );
    assert.match(receipt.files[0]?.kept[0]?.signer ?? '', /Other publisher/);
  });

  for (const channel of ['replace', 'append'])
    it(`are signed by us if the channel says ${channel}`, async () => {
      const request = await signer.send(`${channel}.zip`, await zipped(2), {
        message: `x\n\nChannel: ${channel}\n`,
      });
      await signer.poll();
      const { receipt } = await signer.receiptFor(request);
      assert.equal(receipt.outcome, 'signed', receipt.reason?.message);
      assert.deepEqual(
        receipt.files[0]?.signed.map(({ path }) => path),
        ['product/app.exe', 'product/theirs.dll'],
      );
      assert.deepEqual(receipt.files[0]?.kept, []);
    });

  it('already-signed: refused if the channel says reject', async () => {
    const request = await signer.send('reject.zip', await zipped(3), { message: 'x\n\nChannel: reject\n' });
    await signer.refuses(request, {
      outcome: 'rejected',
      code: 'already-signed',
      says: /^reject\.zip!\/product\/theirs\.dll: it is signed already, and signing\.alreadySigned is reject$/,
      hint: /send the unsigned program/,
    });
  });

  it('kept-signature-bad: not kept if their signature is invalid', async () => {
    const spoilt = { name: 'product/theirs.dll', content: await signedByOther(4, true) };
    await signer.refuses(await signer.send('spoilt.zip', soundZip(4, [spoilt])), {
      outcome: 'rejected',
      code: 'kept-signature-bad',
      says: /^spoilt\.zip!\/product\/theirs\.dll: it has a signature that is not valid: signature: it signs /,
      hint: /build it again/,
    });
  });

  it('nothing-to-sign: if all are kept', async () => {
    const zip = forge([{ name: 'theirs.dll', content: await signedByOther(5) }]);
    await signer.refuses(await signer.send('theirs.zip', zip), {
      outcome: 'rejected',
      code: 'nothing-to-sign',
      says: /^theirs\.zip: nothing to sign: it is signed already, theirs\.dll by .*CN=Other publisher$/,
      hint: /send unsigned programs.*signing\.alreadySigned/,
    });
    await writeFile(signer.world.exchange('incoming', 'theirs.zip'), '');
  });
});
