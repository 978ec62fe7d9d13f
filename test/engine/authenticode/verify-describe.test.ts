import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describeReport } from '../../../src/engine/authenticode/report-text.ts';
import type { SignatureReport, VerifyReport } from '../../../src/engine/authenticode/report.ts';
import { addTimestamp, edited, osslSigned, trusting, unsigned, verify } from './verify-maker.ts';

describe('describeReport', () => {
  it('shows the file, its signer, validity and timestamp', async () => {
    const program = await osslSigned({ arguments: ['-n', 'Blender', '-i', 'https://www.blender.org/'] });
    const report = await verify(await edited(program, addTimestamp), trusting);
    const text = describeReport(report);
    const lines = text.split('\n').map((line) => line.trim());
    assert.equal(lines[0], 'program.exe: ok: signed by a trusted publisher');
    const [signature] = report.signatures;
    const shown = (label: string): string | undefined =>
      lines
        .find((line) => line.startsWith(label))
        ?.slice(label.length)
        .trim();
    assert.equal(shown('signed by'), 'CN=Test publisher');
    assert.equal(shown('issued by'), 'CN=Test intermediate');
    assert.match(shown('certificate') ?? '', /^valid \d{4}-\d\d-\d\d to \d{4}-\d\d-\d\d, serial [0-9a-f]+$/);
    assert.equal(shown('program '), 'Blender');
    assert.equal(shown('about'), 'https://www.blender.org/');
    assert.equal(shown('digest'), `sha256 ${signature?.digest}`);
    assert.equal(shown('timestamp'), `${signature?.timestamp?.time} by CN=Test timestamp authority`);
    assert.equal(shown('chain'), 'Test publisher < Test intermediate < Test root');
  });

  it('shows that trust was not checked', async () => {
    const text = describeReport(await verify(await edited(await osslSigned(), addTimestamp)));
    assert.match(
      text,
      /^program\.exe: intact: unchanged since it was signed; who signed it was not checked$/m,
    );
    assert.match(text, /authority not checked/);
    assert.match(text, /chain +not checked: no roots given/);
  });

  it('shows why a file is bad', async () => {
    const text = describeReport(await verify(await osslSigned(), { roots: [] }));
    assert.match(text, /^program\.exe: BAD$/m);
    assert.match(text, /^ {2}problem: .*whose certificate is missing.*\[certificate-chain-incomplete\]$/m);
  });

  it('shows that a file is not signed', async () => {
    assert.equal(describeReport(await verify(unsigned())), 'program.exe: not signed');
  });

  it('takes little time for a long text of blanks', () => {
    const path = `${' '.repeat(2_000_000)}x`;
    const start = performance.now();
    const text = describeReport({ path, status: 'unsigned', signatures: [], problems: [] });
    assert.ok(performance.now() - start < 500);
    assert.match(text, /^…?: not signed$/);
  });

  it('names the signature that has a problem', () => {
    const report: VerifyReport = {
      path: 'a.exe',
      status: 'bad',
      signatures: [],
      problems: [{ code: 'cms-signature-wrong', message: 'it is wrong', signature: 1 }],
    };
    assert.match(
      describeReport(report),
      /problem in nested signature 1: it is wrong \[cms-signature-wrong\]/,
    );
  });

  it('escapes text that could steer the terminal or pose as another line', () => {
    const hostile = 'A\u001b[2J\r\n  chain  trusted\u202egnp\u2028.exe\u009b';
    const signature: SignatureReport = {
      index: 0,
      nested: false,
      digestAlgorithm: 'sha256',
      digest: 'ab',
      signer: {
        subject: hostile,
        issuer: hostile,
        serial: '1',
        sha256: 'cd',
        notBefore: '2026',
        notAfter: '2027',
      },
      identity: { subject: hostile, issuer: hostile },
      programName: hostile,
      url: hostile,
      timestamp: null,
      checks: [],
      notes: [],
      trusted: false,
    };
    const problems = [{ code: 'certificate-expired', message: hostile }];
    const text = describeReport({ path: hostile, status: 'bad', signatures: [signature], problems });
    assert.doesNotMatch(text, /[\p{Cf}\p{Zl}\p{Zp}]|(?!\n)\p{Cc}/u);
    assert.doesNotMatch(text, /^ *chain/m);
  });
});
