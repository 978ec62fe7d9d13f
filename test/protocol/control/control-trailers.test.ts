import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isVouchMessage, rootsNamed } from '../../../src/protocol/control/control-trailers.ts';

const ID = 'a'.repeat(40);
const OTHER = 'b'.repeat(40);

describe('the roots that a commit message names', () => {
  const MESSAGES: [name: string, message: string, roots: string[]][] = [
    ['a trailer', `Sign a.zip\n\nChannel: x\nControl: ${ID}\n`, [ID]],
    ['in any case', `Sign\n\nCONTROL : ${ID.toUpperCase()}\n`, [ID]],
    ['not among the trailers', `Sign\n\nControl: ${ID}\n\nthat was it\n`, [ID]],
    ['after a line that git takes for the end', `Sign\n\n---\nControl: ${ID}\n`, [ID]],
    ['with CR LF', `Sign\r\n\r\nControl: ${ID}\r\n`, [ID]],
    ['two of them', `Sign\n\nControl: ${ID}\nControl: ${OTHER}\n`, [ID, OTHER]],
    [
      'after blanks, a byte order mark or a no-break space',
      `Sign\n\n \uFEFFControl\u00A0:\u00A0${ID}\n`,
      [ID],
    ],
    ['after another line end', `Sign\n\nx\u2028Control: ${ID}\u0085Control: ${OTHER}\r`, [ID, OTHER]],
    ['folded', `Sign\n\nControl:\n ${ID}\n`, [ID]],
    ['followed by a remark', `Sign\n\nControl: ${ID} (nightly)\n`, [ID]],
    ['two on a line', `Sign\n\nControl: ${ID}, ${OTHER}\n`, [ID, OTHER]],
    ['abbreviated: a root that is not pinned', `Sign\n\nControl: ${ID.slice(0, 12)}\n`, [ID.slice(0, 12)]],
    ['of a SHA-256 repository', `Sign\n\nControl: ${ID}${ID.slice(0, 24)}\n`, [`${ID}${ID.slice(0, 24)}`]],
    ['as a number in a sentence', 'control: 1234567 requests an hour\n', []],
    ['none', 'Sign a.zip\n', []],
    ['words that only resemble it', `Sign\n\nControl: flow graph\nAir-Control: ${ID}\nControl: g${ID}\n`, []],
    ['one digit too long: a root that is not pinned', `Sign\n\nControl: ${ID}0\n`, [`${ID}0`]],
  ];
  for (const [name, message, roots] of MESSAGES) it(name, () => assert.deepEqual(rootsNamed(message), roots));
});

describe('a line Vouch:', () => {
  for (const [what, message] of Object.entries({
    'in the last paragraph': 'x\n\nVouch: yes\n',
    'as git commit --trailer puts it before a line ---': 'x\n\nVouch: yes\n---\nmore\n\ntext\n',
    'in the middle of a text': 'x\n\nsome\nVouch: yes\ntext\n\nend\n',
    'in the subject': 'Vouch: for a.zip\n',
    'in small letters, indented, with blanks': 'x\n\n \tvouch \t:no\n\nend\n',
    'after a carriage return': 'x\r\rVouch: yes\r',
    'after a line separator and a byte order mark': 'x\u2028\uFEFFVouch: yes',
    'more than 64 KiB before the end': `x\n\nVouch: yes\n\n${'y'.repeat(100_000)}\n`,
  }))
    it(`makes a vouch: ${what}`, () => {
      assert.equal(isVouchMessage(message), true);
    });

  it('that only resembles it makes no vouch', () => {
    for (const message of [
      'Vouch for a.zip\n',
      'x\n\nVouched: yes\n',
      'x\n\nI vouch: it is\n',
      'x\n\nVouch-For: a\n',
    ])
      assert.equal(isVouchMessage(message), false, message);
  });
});
