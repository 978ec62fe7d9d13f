import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sshMpint, SshReader, sshString } from '../../../src/lib/sshsig/ssh-wire.ts';

const hex = (text: string): Buffer => Buffer.from(text, 'hex');
const reader = (text: string): SshReader => new SshReader(hex(text), 'it', 'a-code');

describe('SSH data types', () => {
  it('are read as in RFC 4251 section 5', () => {
    const it = reader('0729b7f4aa01020304050607080000000774657374696e67');
    assert.equal(it.byte(), 7);
    assert.equal(it.uint32(), 699921578);
    assert.equal(it.uint64(), 72623859790382856n);
    assert.equal(it.text(), 'testing');
    it.end();
  });

  for (const [magnitude, wire] of [
    ['', '00000000'],
    ['0000', '00000000'],
    ['09a378f9b2e332a7', '0000000809a378f9b2e332a7'],
    ['80', '000000020080'],
    ['0080', '000000020080'],
  ] as const) {
    it(`writes the mpint ${magnitude || '0'}, and reads it back`, () => {
      assert.equal(sshMpint(hex(magnitude)).toString('hex'), wire);
      assert.equal(reader(wire).mpint().toString('hex'), magnitude.replace(/^(?:00)+/, ''));
    });
  }

  it('read strings inside a string', () => {
    const inner = Buffer.concat([sshString('a'), sshString('b')]);
    const list = new SshReader(sshString(inner), 'it').nested();
    assert.deepEqual([list.text(), list.text(), list.done], ['a', 'b', true]);
  });

  for (const [name, work] of Object.entries({
    'a negative mpint': () => reader('00000002edcc').mpint(),
    'an mpint with needless zeros': () => reader('000000020001').mpint(),
    'the mpint 0 in a byte': () => reader('0000000100').mpint(),
    'a string longer than the remaining bytes': () => reader('0000000261').string(),
    'a string of 64 KiB and more': () =>
      new SshReader(sshString(Buffer.alloc(65_537)), 'it', 'a-code').string(),
    'half a number': () => reader('0000').uint32(),
    'text that is not UTF-8': () => reader('00000001ff').text(),
    'text with a NUL': () => reader('000000026100').text(),
    'text with an escape': () => reader('000000021b5b').text(),
    'trailing bytes': () => reader('00').end(),
  })) {
    it(`invalid: ${name}`, () => assert.throws(work, { code: 'a-code', kind: 'invalid', message: /^it / }));
  }
});
