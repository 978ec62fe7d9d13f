/** The roots of public timestamp authorities in the package, and which roots are used. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openSignableFile } from '../../../src/engine/formats/recognize.ts';
import { parseSignature } from '../../../src/engine/authenticode/signature.ts';
import { verifyProgram } from '../../../src/engine/artifact/verify-program.ts';
import { withFile } from '../../../src/lib/bytes/byte-source.ts';
import {
  readPublicRoots,
  readTimestampRoots,
  timestampRootsFor,
} from '../../../src/engine/keys/trusted-roots.ts';
import { createTestCertificate, toPem } from '../../../src/sandbox/certificates.ts';
import { checkToken, imprintDigest, parseToken } from '../../../src/engine/timestamp/token/token.ts';
import { trimToken } from '../../../src/engine/timestamp/token/trim-token.ts';
import { parsePemCertificates, type Certificate } from '../../../src/lib/x509/certificate.ts';
import { program } from '../../fixtures/programs.ts';
import { must } from '../authenticode/tools.ts';
import { refuses } from './refusal.ts';

const root = join(import.meta.dirname, '../../..');
const bundle = join(root, 'roots/timestamp.pem');

/** One certificate of the bundle with its comment. */
interface Entry {
  readonly says: ReadonlyMap<string, string>;
  readonly certificate: Certificate;
}

let folder: string;
let entries: Entry[];
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-roots-'));
  const text = await readFile(bundle, 'utf8');
  entries = [...text.matchAll(/((?:^# .*\n)+)(-----BEGIN[^]*?-----END CERTIFICATE-----)/gm)].map(
    ([, head = '', pem = '']) => {
      const [certificate] = parsePemCertificates(pem, bundle);
      assert.ok(certificate);
      const says = [...head.matchAll(/^# ([^:]+): (.*)$/gm)];
      return { says: new Map(says.map(([, name = '', value = '']) => [name, value])), certificate };
    },
  );
});
after(() => rm(folder, { recursive: true, force: true }));

describe('the roots in the package', () => {
  it('each have a comment: subject, use, digest, source, date', async () => {
    assert.equal(entries.length, (await readPublicRoots()).certificates.length);
    assert.ok(entries.length >= 10);
    for (const { says, certificate } of entries) {
      assert.equal(says.get('SHA-256'), createHash('sha256').update(certificate.raw).digest('hex'));
      assert.equal(says.get('Expires'), certificate.notAfter.toISOString().slice(0, 10));
      assert.ok(says.get('Subject')?.includes(certificate.commonName), says.get('Subject'));
      assert.match(says.get('Source') ?? '', /Microsoft/);
      assert.match(says.get('Added') ?? '', /^\d{4}-\d\d-\d\d$/);
    }
  });

  it('have the SHA-256 and subject that openssl shows', async () => {
    for (const { says, certificate } of entries) {
      const file = join(folder, 'one.pem');
      await writeFile(file, toPem([certificate]));
      const shown = await must(
        'openssl',
        'x509',
        '-in',
        file,
        '-noout',
        '-sha256',
        '-fingerprint',
        '-subject',
        '-nameopt',
        'RFC2253',
      );
      const [, print = ''] = /Fingerprint=(.*)/.exec(shown) ?? [];
      assert.equal(print.replaceAll(':', '').toLowerCase(), says.get('SHA-256'));
      assert.ok(shown.includes(says.get('Subject') ?? '?'), shown);
    }
  });

  it('are authorities, self-signed, and valid for at least a year after they were added', () => {
    for (const { certificate, says } of entries) {
      assert.ok(certificate.isCa && certificate.isSelfIssued, certificate.subject);
      assert.ok(certificate.x509.verify(certificate.publicKey), certificate.subject);
      const added = Date.parse(says.get('Added') ?? '');
      assert.ok(certificate.notAfter.getTime() - added > 365 * 86_400_000, certificate.subject);
      assert.equal(certificate.isTest, false);
    }
  });

  it('are those of the authorities in the operating manual, and no others', async () => {
    const manual = await readFile(join(root, 'docs/operating.md'), 'utf8');
    const [, table = ''] = /## Timestamp authorities([^]*?)\n## /.exec(manual) ?? [];
    const named = [...table.matchAll(/^\| ([A-Z][\w.]+) \| `https?:/gm)].map(([, name]) => name);
    const serving = new Set(entries.map(({ says }) => says.get('Serves')));
    assert.deepEqual(serving, new Set(named));
  });

  it('are in the package', async () => {
    const { files } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { files: string[] };
    assert.ok(files.includes('roots'));
  });

  it('verify real timestamps, also trimmed ones', async () => {
    const { certificates: roots } = await readPublicRoots();
    for (const name of ['inno-compiler.exe', 'inno-lzma64.exe']) {
      const { path } = await program(name);
      await withFile(path, async (file) => {
        const report = await verifyProgram(file, { timestampRoots: [...roots] });
        const trusted = report.signatures.filter(({ digestAlgorithm }) => digestAlgorithm === 'sha256');
        assert.ok(trusted.length > 0);
        for (const { timestamp } of trusted) assert.equal(timestamp?.trusted, true, name);
        const {
          signatures: [signature],
        } = await openSignableFile(file);
        const primary = parseSignature(signature ?? Buffer.alloc(0), name);
        const newest = primary.nested[0] ? parseSignature(primary.nested[0], name) : primary;
        const [token] = newest.timestamps;
        assert.ok(token);
        const trimmed = trimToken(token, roots, name);
        const opened = parseToken(trimmed, name);
        const hash = imprintDigest(opened, name);
        const imprint = createHash(hash).update(newest.signer.signature).digest();
        const { chain } = checkToken(opened, { imprint, hash, roots, what: name });
        assert.ok((chain?.length ?? 0) > 2);
      });
    }
  });
});

describe('the roots for timestamps', () => {
  it('are the public ones unless others are configured', async () => {
    const { certificate } = await createTestCertificate({
      commonName: 'x',
      purpose: 'code-signing',
      key: 'p256',
    });
    const [real] = (await readPublicRoots()).certificates;
    assert.ok(real);
    assert.deepEqual(timestampRootsFor(undefined, [real]), ['public']);
    assert.deepEqual(timestampRootsFor(['own.pem'], [real]), ['own.pem']);
    assert.equal(timestampRootsFor(undefined, [certificate]), undefined);
    assert.deepEqual(timestampRootsFor(['public'], [certificate]), ['public']);
  });

  it('are those of every file named, and the public ones', async () => {
    const { certificate } = await createTestCertificate({ commonName: 'Own root', purpose: 'authority' });
    const own = join(folder, 'own.pem');
    await writeFile(own, toPem([certificate]));
    const both = await readTimestampRoots(['public', own]);
    assert.equal(both?.length, entries.length + 1);
    assert.deepEqual(
      (await readTimestampRoots([own]))?.map(({ sha256 }) => sha256),
      [certificate.sha256],
    );
    assert.equal(await readTimestampRoots(undefined), undefined);
  });

  it('roots-unreadable: no such file, or none in it', async () => {
    await refuses('roots-unreadable', () => readTimestampRoots([join(folder, 'nowhere.pem')]));
    await writeFile(join(folder, 'empty.pem'), 'public\n');
    await refuses('roots-unreadable', () => readTimestampRoots(['public', join(folder, 'empty.pem')]));
  });
});
