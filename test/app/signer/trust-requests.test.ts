import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import {
  createTestCertificate,
  keyToPem,
  toPem,
  type TestIdentity,
} from '../../../src/sandbox/certificates.ts';
import { startHostile, receiptFor } from '../../world/hostile.ts';

const run = promisify(execFile);

const { world, host } = await startHostile();

/** Signs a commit object with ssh-keygen for a given namespace. */
async function signedFor(namespace: string, commit: string): Promise<string> {
  const payload = world.at('payload');
  await writeFile(payload, commit, 'latin1');
  const key = world.at('keys', 'builder_ed25519');
  const script = 'ssh-keygen -q -Y sign -n "$1" -f "$2" < "$3"';
  const { stdout } = await run('sh', ['-c', script, 'sh', namespace, key, payload]);
  const armor = stdout.trim().split('\n').join('\n ');
  return commit.replace('\n\n', `\ngpgsig ${armor}\n\n`);
}

/** A request signed with gpg. */
async function openpgp(line: string): Promise<string> {
  const home = world.at('gnupg');
  await mkdir(home, { mode: 0o700 });
  const env = { ...process.env, GNUPGHOME: home };
  const generate = ['--quick-generate-key', 'by@example.org', 'ed25519', 'sign'];
  const args = ['--batch', '--quiet', '--passphrase', '', ...generate];
  await run('gpg', args, { env });
  const wrapper = world.at('gpg.sh');
  await writeFile(wrapper, `#!/bin/sh\nGNUPGHOME='${home}' exec gpg --batch "$@"\n`, { mode: 0o755 });
  const settings = ['gpg.format=openpgp', `gpg.program=${wrapper}`];
  try {
    return await host.commit({ files: { zipname: line }, key: 'by@example.org', settings });
  } finally {
    await run('gpgconf', ['--homedir', home, '--kill', 'gpg-agent'], { env });
  }
}

interface Case {
  /** What the author did; each is a request on main, and all are answered in one poll. */
  does: string;
  code: string;
  /** The hint in the receipt. */
  hint: RegExp;
  make: () => Promise<string>;
  id?: string;
}

const CASES: Case[] = [
  {
    does: 'did not sign',
    code: 'commit-unsigned',
    hint: /git commit -S/,
    make: () => host.request('unsigned.zip', { key: null }),
  },
  {
    does: 'signed with an unknown key',
    code: 'commit-signer-unknown',
    hint: /allowed signers/,
    make: async () => host.request('unknown.zip', { key: (await host.key('unknown')).path }),
  },
  {
    does: 'signed with a key that had expired by then',
    code: 'commit-signer-expired',
    hint: /current key/,
    make: () => host.request('expired.zip', { key: world.at('keys', 'expired') }),
  },
  {
    does: 'backdated the commit to when the expired key was valid',
    code: 'commit-signer-expired',
    hint: /current key/,
    make: () =>
      host.request('backdated.zip', { key: world.at('keys', 'expired'), date: '2020-06-01T00:00:00Z' }),
  },
  {
    does: 'dated the commit before the key was valid',
    code: 'commit-signer-not-yet-valid',
    hint: /clock/,
    make: () => host.request('early.zip', { key: world.at('keys', 'later'), date: '2020-06-01T00:00:00Z' }),
  },
  {
    does: 'signed with a key that is listed for purposes other than git',
    code: 'commit-signature-namespace',
    hint: /namespaces/,
    make: () => host.request('files.zip', { key: world.at('keys', 'files') }),
  },
  {
    does: 'used a signature that was made for another namespace',
    code: 'commit-signature-namespace',
    hint: /ssh-keygen -Y sign -n git/,
    make: async () => {
      const unsigned = await host.request('namespace.zip', {
        key: null,
        branch: null,
        parents: [await tip()],
      });
      return host.raw(await signedFor('file', await host.show(unsigned)));
    },
  },
  {
    does: 'signed with OpenPGP',
    code: 'commit-signed-openpgp',
    hint: /gpg\.format ssh/,
    make: async () => openpgp(await host.release('openpgp.zip')),
  },
  {
    does: 'copied the signature of another commit',
    code: 'commit-signature-wrong',
    hint: /altered after it was signed, or the signature belongs to another/,
    make: async () => {
      const good = await host.request('good.zip', { branch: null, parents: [await tip()] });
      const other = await host.request('copied.zip', { branch: null, parents: [await tip()], key: null });
      const signature = /\ngpgsig [\s\S]*?-----END SSH SIGNATURE-----/.exec(await host.show(good))?.[0] ?? '';
      return host.raw((await host.show(other)).replace('\n\n', `${signature}\n\n`));
    },
  },
  {
    does: 'altered the tree under a signature',
    code: 'commit-signature-wrong',
    hint: /altered after it was signed/,
    make: async () => {
      const good = await host.request('tree.zip', { branch: null, parents: [await tip()] });
      const other = await host.request('other-tree.zip', { branch: null, parents: [await tip()] });
      const [, tree = ''] = /^tree ([0-9a-f]{40})/.exec(await host.show(other)) ?? [];
      return host.raw((await host.show(good)).replace(/^tree [0-9a-f]{40}/, `tree ${tree}`));
    },
  },
  {
    does: 'altered the channel under a signature',
    code: 'commit-signature-wrong',
    hint: /altered after it was signed/,
    make: async () => {
      const message = 'Sign it\n\nChannel: nightly\n';
      const good = await host.request('channel.zip', { branch: null, parents: [await tip()], message });
      return host.raw((await host.show(good)).replace('Channel: nightly', 'Channel: default'));
    },
  },
];

const tip = async (): Promise<string> => (await host.tip()) ?? '';

describe('a request is refused, with the reason, if its author', () => {
  let honest: string;
  before(async () => {
    const [expired, later, files] = [
      await host.key('expired'),
      await host.key('later'),
      await host.key('files'),
    ];
    await host.allow(
      await host.builderLine(),
      `expired@sandbox namespaces="git",valid-before="20210101" ${expired.line}`,
      `later@sandbox namespaces="git",valid-after="20210101" ${later.line}`,
      `files@sandbox namespaces="file" ${files.line}`,
    );
    await host.request('first.zip');
    for (const each of CASES) each.id = await each.make();
    honest = await host.request('honest.zip');
    await world.poll();
  });

  for (const each of CASES)
    it(`${each.code}: ${each.does}`, async () => {
      const { outcome, reason, request } = await receiptFor(world, each.id ?? '');
      assert.deepEqual([outcome, reason?.code, request.signer], ['rejected', each.code, null]);
      assert.match(reason?.hint ?? '', each.hint);
      const said = await world
        .git('log', '-1', '--format=%s', `:/^rejected.*${each.id?.slice(0, 12)}`)
        .catch(() => '');
      assert.match(said, /^rejected /);
    });

  it('and the honest request after them all is answered', async () => {
    const { outcome, request } = await receiptFor(world, honest);
    assert.deepEqual([outcome, request.signer], ['signed', 'builder@sandbox']);
  });
});

describe('each channel has its own', () => {
  let nightly: TestIdentity;
  let ids: Record<string, string>;
  const onChannel = (channel: string): string => `Sign it\n\nChannel: ${channel}\n`;
  before(async () => {
    nightly = await createTestCertificate({ commonName: 'Nightly', purpose: 'code-signing', key: 'p256' });
    await writeFile(world.at('keys', 'nightly.pem'), toPem([nightly.certificate]));
    await writeFile(world.at('keys', 'nightly.key'), keyToPem(nightly.key), { mode: 0o600 });
    const robot = await host.key('robot');
    await host.allow(await host.builderLine(), `robot@night.example namespaces="git" ${robot.line}`);
    await world.configure(`channels:
  nightly:
    signing:
      certificate: keys/nightly.pem
      key: keys/nightly.key
      timestamp: []
    trust:
      requesters: ["robot@*"]
      names: ["nightly-*.zip"]
  strict:
    trust: { vouches: 1 }
  elsewhere:
    signing: { files: ["bin/*.exe"] }
  listed:
    trust: { allowedSigners: keys/listed }`);
    await writeFile(world.at('keys', 'listed'), `robot@night.example ${robot.line}\n`);
    const message = onChannel('nightly');
    ids = {
      builder: await host.request('nightly-1.zip', { message }),
      name: await host.request('release.zip', { message, key: robot.path }),
      nightly: await host.request('nightly-2.zip', { message, key: robot.path }),
      strict: await host.request('strict.zip', { message: onChannel('strict') }),
      elsewhere: await host.request('elsewhere.zip', { message: onChannel('elsewhere') }),
      unlisted: await host.request('unlisted.zip', { message: onChannel('listed') }),
      listed: await host.request('listed.zip', { message: onChannel('listed'), key: robot.path }),
      unknown: await host.request('x.zip', { message: onChannel('weekly') }),
      release: await host.request('release-2.zip'),
    };
    assert.deepEqual(await world.poll(), { answered: 8, waiting: 1 });
  });

  it('requesters: others are refused with requester-not-allowed', async () => {
    const { reason, request } = await receiptFor(world, ids['builder'] ?? '');
    assert.equal(reason?.code, 'requester-not-allowed');
    assert.match(reason.hint ?? '', /trust\.requesters/);
    assert.equal(request.channel, 'nightly');
  });

  it('names: others are refused with name-not-allowed', async () => {
    const { reason } = await receiptFor(world, ids['name'] ?? '');
    assert.equal(reason?.code, 'name-not-allowed');
    assert.match(reason.hint ?? '', /nightly-\*\.zip/);
  });

  it('key and timestamps: one signs with its test key untimestamped, the other as before', async () => {
    const ours = await receiptFor(world, ids['nightly'] ?? '');
    const theirs = await receiptFor(world, ids['release'] ?? '');
    assert.equal(ours.outcome, 'signed');
    assert.equal(ours.request.signer, 'robot@night.example');
    assert.equal(ours.certificate?.sha256, nightly.certificate.sha256);
    assert.equal(theirs.outcome, 'signed');
    assert.equal(theirs.certificate?.sha256, world.site.pki.codeSigning.certificate.sha256);
    const stamps = [ours, theirs].map((receipt) => JSON.stringify(receipt.files).includes('"timestamp":{'));
    assert.deepEqual(stamps, [false, true]);
  });

  it('number of vouches', async () => {
    await assert.rejects(receiptFor(world, ids['strict'] ?? ''), /has 0 receipts/);
    assert.ok(world.logged.some(({ msg }) => /waiting for 1 of 1 vouches/.test(String(msg))));
  });

  it('patterns of our files: nothing-to-sign if none matches', async () => {
    const { reason } = await receiptFor(world, ids['elsewhere'] ?? '');
    assert.equal(reason?.code, 'nothing-to-sign');
    assert.match(reason.hint ?? '', /signing\.files/);
  });

  it('allowed signers', async () => {
    assert.equal((await receiptFor(world, ids['unlisted'] ?? '')).reason?.code, 'commit-signer-unknown');
    assert.equal((await receiptFor(world, ids['listed'] ?? '')).outcome, 'signed');
  });

  it('and one that the signer does not have is refused with channel-unknown, naming those it has', async () => {
    const { reason } = await receiptFor(world, ids['unknown'] ?? '');
    assert.equal(reason?.code, 'channel-unknown');
    assert.match(reason.hint ?? '', /default, nightly/);
  });

  it('published policy', async () => {
    const policy = JSON.parse(await world.git('show', 'signed:policy.json')) as {
      channels: Record<string, { vouches: number; names: string[]; timestamped: boolean }>;
    };
    const { nightly: own, strict } = policy.channels;
    assert.deepEqual([own?.names, own?.timestamped, strict?.vouches], [['nightly-*.zip'], false, 1]);
    assert.match(await world.git('log', '--format=%s', 'signed'), /^policy of Sandbox signer changed$/m);
    await world.git('fsck', '--strict', '--no-dangling');
  });
});

describe('a channel without timestamps', () => {
  it('untimestamped: refuses to start with a certificate that is not for tests', async () => {
    const { makeReal } = await import('../../world/real-certificate.ts');
    await makeReal(world.at('keys'));
    await world.configure(`  real:
    signing:
      certificate: keys/real.pem
      key: keys/real.key
      timestamp: []`);
    const ended = await world.watchOnce();
    assert.equal(ended.status, 2);
    assert.match(ended.stderr, /channel real: signing\.timestamp is empty.*\[untimestamped\]/);
    assert.match(ended.stderr, /name at least one RFC 3161 authority/);
  });
});
