import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { Jail } from '../../src/sandbox/jail.ts';
import { OPEN, REQUEST, STATUS, string, uint32, uint64 } from '../../src/sandbox/sftp-packet.ts';
import { SftpServer } from '../../src/sandbox/sftp-server.ts';

let folder: string;
let jail: Jail;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-sftp-'));
  await mkdir(join(folder, 'root'));
  await writeFile(join(folder, 'root/file'), 'content');
  await writeFile(join(folder, 'secret'), 'outside');
  await symlink('../secret', join(folder, 'root/link'));
  jail = await Jail.at(join(folder, 'root'));
});
after(() => rm(folder, { recursive: true, force: true }));

const request = (type: number, ...fields: Buffer[]): Buffer => {
  const body = Buffer.concat([Buffer.from([type]), ...fields]);
  return Buffer.concat([uint32(body.length), body]);
};

const opening = (id: number, path: string, flags: number): Buffer =>
  request(REQUEST.OPEN, uint32(id), string(path), uint32(flags), uint32(0));

/** What the server answers to these bytes, one packet an element, and how it ended. */
async function exchange(...sent: Buffer[]): Promise<{ answers: Buffer[]; error: unknown }> {
  const received: Buffer[] = [];
  const channel = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      received.push(chunk);
      done();
    },
  });
  for (const bytes of sent) channel.push(bytes);
  channel.push(null);
  const error: unknown = await new SftpServer(jail).serve(channel).then(
    () => null,
    (reason: unknown) => reason,
  );
  return { answers: received, error };
}

/** The code of a STATUS answer. */
function statusCode(answer: Buffer | undefined): number {
  assert.ok(answer);
  assert.equal(answer[4], 101, 'a STATUS');
  return answer.readUInt32BE(9);
}

const INIT = request(REQUEST.INIT, uint32(3));

describe('the SFTP server', () => {
  it('announces version 3 and the extensions that it carries out', async () => {
    const { answers } = await exchange(INIT);
    const text = String(answers[0]);
    for (const name of ['posix-rename@openssh.com', 'fsync@openssh.com', 'limits@openssh.com'])
      assert.ok(text.includes(name), name);
  });

  it('reads a request however it is cut into chunks', async () => {
    const whole = Buffer.concat([
      INIT,
      opening(1, '/file', OPEN.READ),
      request(REQUEST.READ, uint32(2), string('1'), uint64(2), uint32(100)),
    ]);
    const bytes = Array.from(whole, (byte) => Buffer.from([byte]));
    const { answers, error } = await exchange(...bytes);
    assert.equal(error, null);
    assert.equal(answers[2]?.toString('latin1', 13), 'ntent');
  });

  it('sftp-malformed: a packet longer than any, or of no length, ends the session', async () => {
    for (const length of [0, 256 * 1024 + 1, 0xffff_ffff]) {
      const { error } = await exchange(INIT, uint32(length), Buffer.alloc(100));
      assert.equal((error as { code?: string }).code, 'sftp-malformed', String(length));
    }
  });

  it('answers BAD_MESSAGE to fields that do not fit, and goes on', async () => {
    const short = request(REQUEST.STAT, uint32(1), uint32(1000), Buffer.from('a'));
    const notUtf8 = request(REQUEST.STAT, uint32(2), string(Buffer.from([0xff, 0xfe])));
    const zero = request(REQUEST.STAT, uint32(3), string('a\0b'));
    const far = request(REQUEST.READ, uint32(4), string('1'), Buffer.alloc(8, 0xff), uint32(1));
    const opened = opening(5, '/file', OPEN.READ);
    const { answers } = await exchange(INIT, short, notUtf8, zero, opened, far);
    assert.deepEqual(
      [1, 2, 3, 5].map((i) => statusCode(answers[i])),
      Array(4).fill(STATUS.BAD_MESSAGE),
    );
  });

  it('answers OP_UNSUPPORTED to requests and extensions that it does not have', async () => {
    const symlinking = request(20, uint32(1), string('/file'), string('/new'));
    const copying = request(REQUEST.EXTENDED, uint32(2), string('copy-data'));
    const { answers } = await exchange(INIT, symlinking, copying);
    assert.deepEqual(answers.slice(1).map(statusCode), [STATUS.OP_UNSUPPORTED, STATUS.OP_UNSUPPORTED]);
  });

  it('answers FAILURE to handles that are not open', async () => {
    const { answers } = await exchange(
      INIT,
      request(REQUEST.READ, uint32(1), string('9'), uint64(0), uint32(1)),
      request(REQUEST.CLOSE, uint32(2), string('9')),
      request(REQUEST.READDIR, uint32(3), string('')),
    );
    assert.deepEqual(answers.slice(1).map(statusCode), Array(3).fill(STATUS.FAILURE));
  });

  it('holds 64 files open at most', async () => {
    const many = Array.from({ length: 65 }, (_, i) => opening(i, '/file', OPEN.READ));
    const { answers } = await exchange(INIT, ...many);
    assert.equal(answers[64]?.[4], 102, 'the 64th is opened');
    assert.equal(statusCode(answers[65]), STATUS.FAILURE);
  });

  it('creates nothing through a symbolic link, and stops .. at the top', async () => {
    const create = OPEN.WRITE | OPEN.CREAT | OPEN.TRUNC;
    const { answers } = await exchange(
      INIT,
      opening(1, '/link', create),
      opening(2, '/../../secret', OPEN.READ),
    );
    assert.equal(statusCode(answers[1]), STATUS.PERMISSION_DENIED);
    assert.equal(statusCode(answers[2]), STATUS.NO_SUCH_FILE);
    assert.equal(await readFile(join(folder, 'secret'), 'utf8'), 'outside');
  });

  it('tells clients no path of this machine', async () => {
    const { answers } = await exchange(
      INIT,
      opening(1, '/file/below', OPEN.READ),
      opening(2, '/', OPEN.WRITE),
    );
    for (const answer of answers.slice(1)) assert.ok(!answer.includes(folder));
    assert.deepEqual(await readdir(join(folder, 'root')), ['file', 'link']);
  });
});
