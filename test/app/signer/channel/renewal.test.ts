import assert from 'node:assert/strict';
import { chmod, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { certificateIdentity } from '../../../../src/lib/x509/certificate-identity.ts';
import type { PublishedPolicy } from '../../../../src/protocol/control/published-policy.ts';
import {
  createTestCertificate,
  keyToPem,
  toPem,
  type TestCertificateOptions,
  type TestIdentity,
} from '../../../../src/sandbox/certificates.ts';
import { until } from '../../../until.ts';
import { World } from '../../../world/site.ts';
import { program, sha256, TestSigner } from '../test-signer.ts';

const DAY = 86_400_000;
const start = Date.now();
const daysAhead = (days: number): Date => new Date(start + days * DAY);
const clockAt = (days: number) => (): Date => daysAhead(days);

type Certificates = Record<'old' | 'next' | 'other' | 'ending' | 'wrong', TestIdentity>;

/** Writes certificates for these tests into the folder of the site's keys. */
async function makeCertificates(world: World): Promise<Certificates> {
  const make = async (name: string, options: Partial<TestCertificateOptions>): Promise<TestIdentity> => {
    const made = await createTestCertificate({
      commonName: 'Publisher',
      purpose: 'code-signing',
      issuer: world.site.pki.root,
      key: 'p256',
      ...options,
    });
    await writeFile(world.at('keys', `${name}.pem`), toPem([made.certificate]));
    await writeFile(world.at('keys', `${name}.key`), keyToPem(made.key), { mode: 0o600 });
    return made;
  };
  return {
    old: await make('old', { notAfter: daysAhead(300) }),
    next: await make('next', { notAfter: daysAhead(600) }),
    other: await make('other', { commonName: 'Publisher with a new name', notAfter: daysAhead(600) }),
    ending: await make('ending', { notAfter: daysAhead(3) }),
    wrong: await make('wrong', { purpose: 'timestamping', notAfter: daysAhead(600) }),
  };
}

/** signer.yaml with `first` and its successor, without timestamps: the clocks of these tests run ahead. */
const configured =
  (first: string, next: string, from = 10) =>
  (text: string): string =>
    text
      .replace(/^ {2}pfx: .*$/m, `  certificate: keys/${first}.pem\n  key: keys/${first}.key`)
      .replace(/^ {2}passphraseFile: .*$/m, '')
      .replace(/^ {2}timestamp: .*$/m, '  timestamp: []')
      .replace(
        /^ {2}name: Sandbox product$/m,
        `  successor: { certificate: keys/${next}.pem, key: keys/${next}.key, from: '${daysAhead(from).toISOString()}' }`,
      );

const policyOf = async (world: World): Promise<PublishedPolicy['channels'][string] | undefined> =>
  (JSON.parse(await world.git('show', 'signed:policy.json')) as PublishedPolicy).channels['default'];

const published = ({ certificate }: TestIdentity): object => ({
  identity: certificateIdentity(certificate),
  sha256: certificate.sha256,
  notAfter: certificate.notAfter.toISOString(),
});

describe('signing.successor, while the signer runs', () => {
  let signer: TestSigner;
  let made: Certificates;
  before(async () => {
    signer = await TestSigner.open({
      ssh: false,
      prepare: async (world) => {
        made = await makeCertificates(world);
      },
      change: (text) => configured('old', 'next')(text),
    });
  });
  after(() => signer.close());

  /** Signs a request at a time; returns the SHA-256 of the certificate in its receipt. */
  async function certificateAt(days: number): Promise<string | undefined> {
    const reset = signer.setClock(clockAt(days));
    try {
      const request = await signer.sendSound();
      await signer.signs(request);
      return (await signer.receiptFor(request)).receipt.certificate?.sha256;
    } finally {
      reset();
    }
  }

  it('before its date the certificate in use signs, and policy.json names both', async () => {
    assert.equal(await certificateAt(1), made.old.certificate.sha256);
    const policy = await policyOf(signer.world);
    assert.deepEqual(policy?.certificate, published(made.old));
    assert.deepEqual(policy?.successor, {
      from: daysAhead(10).toISOString(),
      certificate: published(made.next),
    });
  });

  it('from its date on it signs, and policy.json and the log say so', async () => {
    assert.equal(await certificateAt(10), made.next.certificate.sha256);
    const policy = await policyOf(signer.world);
    assert.deepEqual([policy?.certificate, policy?.successor], [published(made.next), undefined]);
    const [changed, ...more] = signer.logged.filter(({ code }) => code === 'certificate-changed');
    assert.match(
      changed?.msg ?? '',
      /^channel default: signs with the certificate .*Publisher.* from now on$/,
    );
    assert.equal(more.length, 0);
  });

  it('the receipts of both name one identity', async () => {
    const tips = (await signer.world.git('log', '--first-parent', '--format=%H', 'signed')).split('\n');
    const receipts = await Promise.all(
      tips.map((id) => signer.world.git('show', `${id}:receipt.json`).then(JSON.parse, () => null)),
    );
    const identities = receipts.filter(Boolean).map(({ identity }: { identity: object }) => identity);
    assert.equal(identities.length, 2);
    assert.deepEqual(identities[0], identities[1]);
  });

  it('a clock that was wrong for a while has no effect afterwards', async () => {
    assert.equal(await certificateAt(2), made.old.certificate.sha256);
  });

  it('a request that is being signed at that time keeps its key', async () => {
    const { exchange } = signer.context;
    const fetch = exchange.fetch.bind(exchange);
    let reset = signer.setClock(clockAt(9));
    exchange.fetch = (...args) => {
      reset = signer.setClock(clockAt(11));
      return fetch(...args);
    };
    const request = await signer.sendSound();
    await signer.signs(request);
    exchange.fetch = fetch;
    reset();
    const { receipt } = await signer.receiptFor(request);
    assert.equal(receipt.certificate?.sha256, made.old.certificate.sha256);
  });

  it('a request whose receipt could not be pushed before is finished as it was begun', async () => {
    const hook = join(signer.world.control, 'hooks/pre-receive');
    const request = await signer.sendSound();
    const early = signer.setClock(clockAt(9));
    await writeFile(hook, '#!/bin/sh\ngrep -q refs/heads/signed && exit 1\nexit 0\n');
    await chmod(hook, 0o755);
    await assert.rejects(signer.poll());
    await rename(hook, `${hook}.off`);
    early();
    const late = signer.setClock(clockAt(12));
    await signer.poll();
    late();
    const { receipt } = await signer.receiptFor(request);
    assert.deepEqual([receipt.outcome, receipt.certificate?.sha256], ['signed', made.old.certificate.sha256]);
  });
});

describe('signing.successor, when the signer starts', () => {
  let world: World;
  let made: Certificates;
  let original = '';
  let requests = 0;
  before(async () => {
    world = await World.start({ ssh: false });
    made = await makeCertificates(world);
    original = await readFile(world.site.signerConfig, 'utf8');
  });
  after(() => world.stop());

  const configure = (first: string, next: string, from?: number): Promise<void> =>
    world.reconfigure(() => configured(first, next, from)(original));

  /** Requests a program, starts a signer at a time, and returns what the receipt and the policy say. */
  async function signedAt(days: number): Promise<string | undefined> {
    requests += 1;
    const bytes = program(4000 + requests);
    await writeFile(world.exchange('incoming', `start-${requests}.exe`), bytes);
    await world.request(`${sha256(bytes)}  start-${requests}.exe\n`);
    await world.poll(clockAt(days));
    return (await world.receipt()).certificate?.sha256;
  }

  const logged = (code: string): string[] =>
    world.logged.filter((each) => each['code'] === code).map(({ msg }) => String(msg));

  it('after its date it signs, and the certificate before it is not needed any more', async () => {
    await configure('old', 'next');
    assert.equal(await signedAt(1), made.old.certificate.sha256);
    await rename(world.at('keys/old.key'), world.at('keys/old.key.gone'));
    assert.equal(await signedAt(20), made.next.certificate.sha256);
    await rename(world.at('keys/old.key.gone'), world.at('keys/old.key'));
  });

  it('takes over early if the certificate in use expires before its date', async () => {
    await configure('ending', 'next', 30);
    assert.equal(await signedAt(2), made.ending.certificate.sha256);
    assert.equal((await policyOf(world))?.successor?.from, made.ending.certificate.notAfter.toISOString());
    assert.equal(await signedAt(4), made.next.certificate.sha256);
  });

  it('does so too if the key in use is put away after its certificate expired, and not before', async () => {
    const key = world.at('keys/ending.key');
    await rename(key, `${key}.gone`);
    await assert.rejects(world.poll(clockAt(2)), { code: 'file-not-found' });
    assert.equal(await signedAt(4), made.next.certificate.sha256);
    assert.equal((await policyOf(world))?.successor, undefined);
    assert.deepEqual(logged('successor-early'), []);
    await rename(`${key}.gone`, key);
  });

  it('successor-late: a date after the end of the certificate in use is warned about', () =>
    assert.match(logged('successor-late')[0] ?? '', /signing\.successor\.from .* after .* expires/));

  it('successor-other-identity: another publisher is warned about, with both named', async () => {
    await configure('old', 'other');
    assert.equal(await signedAt(20), made.other.certificate.sha256);
    await world.poll(clockAt(1));
    assert.match(
      logged('successor-other-identity')[0] ?? '',
      /another identity: .*new name; .*; in use is .*CN=Publisher;/,
    );
    const policy = await policyOf(world);
    assert.deepEqual(policy?.certificate?.identity, certificateIdentity(made.old.certificate));
    assert.deepEqual(policy?.successor?.certificate?.identity, certificateIdentity(made.other.certificate));
  });

  it('successor-same: the certificate in use once more is warned about', async () => {
    await writeFile(world.at('keys/copy.pem'), await readFile(world.at('keys/old.pem')));
    await writeFile(world.at('keys/copy.key'), await readFile(world.at('keys/old.key')), { mode: 0o600 });
    await configure('old', 'copy');
    assert.equal(await signedAt(1), made.old.certificate.sha256);
    assert.match(logged('successor-same')[0] ?? '', /is the certificate in use/);
  });

  it('a successor that could sign nothing when it takes over is warned about, before that', async () => {
    for (const [next, code, text] of [
      ['wrong', 'certificate-not-for-code-signing', /^channel default: signing\.successor: .*from \d{4}-/],
      ['ending', 'certificate-expired', /^channel default: signing\.successor: .*expired on/],
    ] as const) {
      const from = world.logged.length;
      await configure('old', next);
      assert.equal(await signedAt(1), made.old.certificate.sha256);
      const said = world.logged.slice(from).filter((record) => record['code'] === code);
      assert.match(String(said[0]?.['msg']), text);
    }
  });

  it('a successor that is not there yet is a warning before its date; then no request is signed', async () => {
    await configure('old', 'absent');
    assert.equal(await signedAt(1), made.old.certificate.sha256);
    const warned = world.logged.filter(({ msg }) =>
      /signing\.successor cannot be opened yet/.test(String(msg)),
    );
    assert.equal(warned.length, 1);
    const policy = await policyOf(world);
    assert.deepEqual(policy?.successor, { from: daysAhead(10).toISOString() });
    await assert.rejects(world.poll(clockAt(11)), {
      code: 'file-not-found',
      message: /^signing\.successor: .*absent\.pem/,
    });
  });
});

describe('a certificate that expires while the signer runs', () => {
  let signer: TestSigner;
  before(async () => {
    signer = await TestSigner.open({
      ssh: false,
      prepare: async (world) => {
        await makeCertificates(world);
      },
      change: (text) => configured('ending', 'absent', 2)(text),
    });
  });
  after(() => signer.close());

  it('lets requests wait, says so once, and goes on when a successor can be opened', async () => {
    const request = await signer.sendSound();
    const reset = signer.setClock(clockAt(4));
    for (let polls = 0; polls < 3; polls += 1)
      assert.deepEqual(await signer.poll(), { answered: 0, waiting: 1 });
    const said = signer.logged.filter(({ code }) => code === 'successor-unusable');
    assert.deepEqual(
      said.map(({ level }) => level),
      [50, 30],
      'an error for the channel, and why the request waits',
    );
    const health = (): Promise<string> => readFile(signer.world.at('signer-state', 'health.json'), 'utf8');
    await until('status says so', async () =>
      /"problem":\{"code":"successor-unusable"\}/.test(await health()),
    );
    assert.match(await health(), /"successor":\{"from":"[^"]+","open":false\}/);
    assert.match(said[0]?.msg ?? '', /absent\.pem: no such file \[file-not-found\]/);
    for (const kind of ['pem', 'key'])
      await rename(signer.world.at('keys', `next.${kind}`), signer.world.at('keys', `absent.${kind}`));
    await chmod(signer.world.at('keys/absent.key'), 0o600);
    await signer.restart(clockAt(4));
    await signer.signs(request);
    reset();
  });
});
