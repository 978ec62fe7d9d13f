import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { setImmediate } from 'node:timers/promises';
import assert from 'node:assert/strict';
import { chmod, copyFile, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { octets, oid, seq } from '../../../src/lib/asn1/encode-der.ts';
import { OID } from '../../../src/lib/asn1/oids.ts';
import { pino } from 'pino';
import type { CourierConfig } from '../../../src/app/config/courier.ts';
import { withCourier } from '../../../src/app/courier/open-courier.ts';
import { loadSignerConfig } from '../../../src/app/config/signer.ts';
import { readPublicRoots } from '../../../src/engine/keys/trusted-roots.ts';
import { createTestCertificate, toPem, keyToPem } from '../../../src/sandbox/certificates.ts';
import { startTimestampAuthority } from '../../../src/sandbox/timestamp-authority.ts';
import { checkSigner } from '../../../src/app/site/doctor/doctor.ts';
import { SigningKeys } from '../../../src/app/site/doctor/check-keys.ts';
import { runChecks, type SiteFinding } from '../../../src/app/site/doctor/check-result.ts';
import { lockState } from '../../../src/app/signer/state/lock.ts';
import { altered, alteringAuthority } from '../../engine/timestamp/altering-authority.ts';
import { World } from '../../world/site.ts';
import { makeKey } from '../../world/sshd.ts';
import { signpipe } from './cli.ts';

const run = promisify(execFile);

const DAY = 86_400_000;

let world: World;
let configs = 0;
before(async () => {
  world = await World.start();
  await world.configure('limits: { archive: 1MiB }');
});
after(() => world.stop());

/** A path of the site, as its configurations name it. */
const key = (name: string): string => world.at('keys', name);

type Change = (text: string) => string;

/** The site's configuration with a change, in a file of its own beside it. */
async function configured(change: Change = (text) => text): Promise<string> {
  configs += 1;
  const path = world.at(`signer-${configs}.yaml`);
  await writeFile(path, change(await readFile(world.site.signerConfig, 'utf8')));
  return path;
}

const examined = async (change?: Change): Promise<SiteFinding[]> =>
  checkSigner(await loadSignerConfig(await configured(change)));

const set =
  (name: string, value: string): Change =>
  (text) => {
    assert.match(text, new RegExp(`^( *)${name}: .*$`, 'm'));
    return text.replace(new RegExp(`^( *)${name}: .*$`, 'm'), `$1${name}: ${value}`);
  };

const brief = (findings: readonly SiteFinding[]): string[] =>
  findings
    .filter(({ status }) => status !== 'ok')
    .map(({ status, check, code }) => `${status} ${check} ${code ?? ''}`);

/** Returns the finding with this status and code, and asserts that all checks other than `checks` are ok. */
function requireOnly(findings: readonly SiteFinding[], what: string, checks: readonly RegExp[]): SiteFinding {
  const found = findings.find(({ status, code }) => `${status} ${code}` === what);
  assert.ok(found, `${what} in ${JSON.stringify(brief(findings))}`);
  assert.ok(found.hint === undefined || found.hint.length > 10);
  const strange = findings.filter(
    (each) => each.status !== 'ok' && !checks.some((pattern) => pattern.test(each.check)),
  );
  assert.deepEqual(brief(strange), []);
  return found;
}

/** Examines the site with a change, as `requireOnly` expects it. */
const examinedFor = async (
  change: Change | undefined,
  what: string,
  checks: readonly RegExp[],
): Promise<SiteFinding> => requireOnly(await examined(change), what, checks);

const messagesOf = (findings: readonly SiteFinding[], check: string): string =>
  findings
    .filter((each) => each.check === check)
    .map(({ message }) => message)
    .join('\n');

describe('a site without faults', () => {
  let findings: SiteFinding[] = [];
  let references = '';
  before(async () => {
    references = await world.git('for-each-ref');
    findings = await examined();
  });

  it('is all ok', () => {
    assert.deepEqual(brief(findings), []);
  });

  it('has every part checked', () => {
    assert.deepEqual(
      [...new Set(findings.map(({ check }) => check))],
      [
        'programs',
        'SSH to control',
        'SSH to exchange',
        'control repository',
        'exchange',
        'signing key (default)',
        'timestamps (default)',
        'allowed signers (default)',
        'receipts key',
        'files',
        'state',
      ],
    );
  });

  it('reports what an operator wants to know', () => {
    assert.match(messagesOf(findings, 'exchange'), /fsync offered, posix-rename offered/);
    assert.match(
      messagesOf(findings, 'signing key (default)'),
      /CN=Test publisher \(a TEST certificate[^]*36\d days left/,
    );
    // A token has whole seconds.
    assert.match(
      messagesOf(findings, 'timestamps (default)'),
      /answered in \d+ ms, its clock (0\.\d|1\.0) s from ours/,
    );
    assert.match(messagesOf(findings, 'programs'), /git version[^]*OpenSSH[^]*flock/);
    assert.match(
      messagesOf(findings, 'control repository'),
      /a push to signed can begin; the host has no hook of signpipe/,
    );
  });

  it('is not changed', async () => {
    assert.equal(await world.git('for-each-ref'), references);
    assert.deepEqual(await readdir(world.exchange('signed')), []);
    assert.deepEqual(await readdir(world.exchange('incoming')), []);
  });
});

describe('the command', () => {
  it('prints a table and exits with 0', async () => {
    const { status, stdout, stderr } = await signpipe('doctor', '-c', await configured());
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, /^ok +configuration +\S+signer-\d+\.yaml; channels: default$/m);
    assert.match(stdout, /^\d+ ok, 0 warnings, 0 bad$/m);
  });

  it('exits with 1 if something is bad, reports it as JSON, and shows no secrets', async () => {
    const path = await configured(set('url', 'ssh://nobody@127.0.0.1:1/c.git'));
    const { status, stdout } = await signpipe('doctor', '-c', path, '--json');
    assert.equal(status, 1);
    const report = JSON.parse(stdout) as { status: string; findings: SiteFinding[] };
    assert.equal(report.status, 'bad');
    assert.ok(
      report.findings.some(({ check, code }) => check === 'SSH to control' && code === 'host-unreachable'),
    );
    const passphrase = (await readFile(key('passphrase'), 'utf8')).trim();
    assert.ok(!stdout.includes(passphrase));
  });

  it('exits with 2 for a configuration that cannot be used', async () => {
    const { status, stderr } = await signpipe(
      'doctor',
      '-c',
      await configured((text) => `${text}nonsense: 1\n`),
    );
    assert.equal(status, 2);
    assert.match(stderr, /unknown key "nonsense" \[config-invalid\]/);
  });
});

describe('the signing key', () => {
  const only = [/^signing key/];

  /** Creates a certificate and its key in keys/. */
  async function withCertificate(
    name: string,
    options: { notBefore?: Date; notAfter?: Date; extendedKeyUsage?: string[] },
  ): Promise<Change> {
    const made = await createTestCertificate({
      commonName: name,
      purpose: 'code-signing',
      key: 'p256',
      ...options,
    });
    await writeFile(key(`${name}.pem`), toPem(made.chain));
    await writeFile(key(`${name}.key`), keyToPem(made.key), { mode: 0o600 });
    return (text) =>
      text
        .replace(/^  pfx: .*$/m, `  certificate: keys/${name}.pem\n  key: keys/${name}.key`)
        .replace(/^  passphraseFile: .*\n/m, '');
  }

  it('pfx-wrong-passphrase', async () => {
    await writeFile(key('wrong'), 'not this one\n', { mode: 0o600 });
    const found = await examinedFor(set('passphraseFile', 'keys/wrong'), 'bad pfx-wrong-passphrase', only);
    assert.ok(!JSON.stringify(found).includes('not this one'));
  });

  it('passphrase-file: the empty one that init leaves', async () => {
    await writeFile(key('empty'), '', { mode: 0o600 });
    await examinedFor(set('passphraseFile', 'keys/empty'), 'bad passphrase-file', only);
  });

  it('file-not-found: there is no key file yet', async () => {
    await examinedFor(set('pfx', 'keys/none.pfx'), 'bad file-not-found', only);
  });

  it('certificate-expired', async () => {
    const [notBefore, notAfter] = [new Date(Date.now() - 9 * DAY), new Date(Date.now() - DAY)];
    await examinedFor(
      await withCertificate('expired', { notBefore, notAfter }),
      'bad certificate-expired',
      only,
    );
  });

  it('certificate-expires-soon', async () => {
    const notAfter = new Date(Date.now() + 12.5 * DAY);
    const found = await examinedFor(
      await withCertificate('soon', { notAfter }),
      'warning certificate-expires-soon',
      only,
    );
    assert.match(found.message, /, 12 days left: within 14 days of its end$/);
  });

  it('certificate-not-for-code-signing', async () => {
    const change = await withCertificate('mail', { extendedKeyUsage: ['1.3.6.1.5.5.7.3.4'] });
    await examinedFor(change, 'bad certificate-not-for-code-signing', only);
  });

  it('certificate-chain-incomplete: another root is configured', async () => {
    const other = await createTestCertificate({ commonName: 'Other root', purpose: 'authority' });
    await writeFile(key('other.pem'), toPem([other.certificate]));
    const findings = await examined((text) => text.replace(/^( *)pfx: .*$/m, '$&\n$1roots: keys/other.pem'));
    requireOnly(findings, 'bad certificate-chain-incomplete', only);
  });

  it('leads to the configured root', async () => {
    const findings = await examined((text) => text.replace(/^( *)pfx: .*$/m, '$&\n$1roots: ca.pem'));
    assert.deepEqual(brief(findings), []);
    assert.match(messagesOf(findings, 'signing key (default)'), /its chain leads to .*CN=Test root/);
  });

  it('is checked once for all channels that share it', async () => {
    const findings = await examined((text) => `${text}channels: { release: { trust: { delay: 1h } } }\n`);
    assert.ok(findings.some(({ check }) => check === 'signing key (default, release)'));
    assert.deepEqual(brief(findings), []);
  });
});

describe('SigningKeys', () => {
  it('open a key once, and close it', async () => {
    const config = await loadSignerConfig(await configured());
    const signing = config.channels.get('default')?.signing;
    assert.ok(signing);
    const keys = new SigningKeys();
    const [one, other] = await Promise.all([
      keys.open(signing),
      keys.open({ ...signing, digest: 'sha512', timestamp: [] }),
    ]);
    assert.equal(one, other);
    keys.close();
    await setImmediate();
    await assert.rejects(one.sign('sha256', Buffer.alloc(1)), { code: 'key-closed' });
  });
});

describe('the hosts', () => {
  const hosts = [/^SSH to/, /^control repository$/, /^exchange$/];

  it('host-key-changed', async () => {
    const line = await makeKey(key('other_host'));
    await writeFile(key('changed_hosts'), `[127.0.0.1]:${world.sshd.port} ${line}\n`);
    const findings = await examined(set('knownHosts', 'keys/changed_hosts'));
    const found = requireOnly(findings, 'bad host-key-changed', hosts);
    assert.match(
      found.message,
      /shows the host key ssh-ed25519 SHA256:\S+, but \S+changed_hosts has ssh-ed25519 SHA256:/,
    );
    assert.equal(brief(findings).length, 4);
  });

  it('host-key-unknown: nothing is pinned', async () => {
    await writeFile(key('no_hosts'), '# none\n');
    await examinedFor(set('knownHosts', 'keys/no_hosts'), 'bad host-key-unknown', hosts);
  });

  it('key-refused: the host does not know the identity', async () => {
    await makeKey(key('stranger'));
    await examinedFor(set('identity', 'keys/stranger'), 'bad key-refused', hosts);
  });

  it('host-unreachable: no route to it', async () => {
    const change = set('url', `ssh://${world.sshd.user}@127.0.0.1:1${world.control}`);
    await examinedFor(change, 'bad host-unreachable', [/^SSH to control$/, /^control repository$/]);
  });

  it('git-no-repository', async () => {
    const change = set('url', world.sshd.url('/nowhere.git', 'ssh'));
    await examinedFor(change, 'bad git-no-repository', [/^control repository$/]);
  });

  it('git refuses to begin a push, although the repository can be read', async () => {
    const line = await makeKey(key('reader'));
    const command = `case $SSH_ORIGINAL_COMMAND in git-upload-pack*) exec git-shell -c \\"$SSH_ORIGINAL_COMMAND\\";; *) echo access denied >&2; exit 1;; esac`;
    await world.sshd.authorize(`restrict,command="${command}" ${line}`);
    const findings = await examined(set('identity', 'keys/reader'));
    const found = findings.find(({ check, status }) => check === 'control repository' && status === 'bad');
    assert.equal(found?.code, 'git-refused');
  });
});

describe('the exchange', () => {
  const only = [/^exchange$/];
  const inExchange =
    (part: string): Change =>
    (text) =>
      text.replace(/^exchange:$/m, `exchange:\n  ${part}`);

  it('exchange-incoming-missing', async () => {
    await examinedFor(inExchange('incoming: elsewhere'), 'bad exchange-incoming-missing', only);
  });

  it('folder-not-there-yet: the outgoing folder, which the first delivery creates', async () => {
    await examinedFor(inExchange('outgoing: later'), 'warning folder-not-there-yet', only);
  });

  it('exchange-not-writable: the outgoing folder is a file', async () => {
    await writeFile(world.exchange('a-file'), '');
    await examinedFor(inExchange('outgoing: a-file'), 'bad exchange-not-writable', only);
    await rm(world.exchange('a-file'));
  });

  it('exchange-folder-missing: it is not mounted', async () => {
    await rename(world.exchange(), `${world.exchange()}.aside`);
    try {
      await examinedFor(undefined, 'bad exchange-folder-missing', only);
    } finally {
      await rename(`${world.exchange()}.aside`, world.exchange());
    }
  });

  it('is checked over the legacy protocol without writing', async () => {
    const findings = await examined((text) => text.replace('sftp://', 'scp://'));
    assert.deepEqual(brief(findings), []);
    assert.match(
      messagesOf(findings, 'exchange'),
      /signed can be written \(by its permissions; nothing was written\)/,
    );
  });

  it('is checked as a local folder', async () => {
    const findings = await examined((text) => text.replace(/sftp:\/\/[^/]+/, 'file://'));
    assert.deepEqual(brief(findings), []);
    assert.ok(!findings.some(({ check }) => check === 'SSH to exchange'));
    assert.deepEqual(await readdir(world.exchange('signed')), []);
  });
});

describe('timestamp authorities', () => {
  const only = [/^timestamps/];
  const authorities = (...urls: string[]): Change => set('timestamp', JSON.stringify(urls));
  const down = 'http://127.0.0.1:1/';

  it('timestamp-unavailable: the only one is down', async () => {
    const found = await examinedFor(authorities(down), 'bad timestamp-unavailable', only);
    assert.match(found.message, /http:\/\/127\.0\.0\.1:1\//);
  });

  it('timestamp-unavailable: a warning if another authority answers', async () => {
    const findings = await examined(authorities(down, world.authority.url));
    requireOnly(findings, 'warning timestamp-unavailable', only);
    assert.equal(findings.filter(({ status }) => status === 'bad').length, 0);
  });

  it('clock-wrong: the clocks are an hour apart', async () => {
    const found = await examinedFor(
      authorities(`${world.authority.url}clock-behind`),
      'bad clock-wrong',
      only,
    );
    assert.match(found.message, /clock is 3\d{3} s ahead of that of http/);
  });

  it('clock-differs: a minute is reported, and accepted', async () => {
    const authority = await startTimestampAuthority({
      identity: world.site.pki.timestamping,
      now: () => new Date(Date.now() + 60_000),
    });
    try {
      const found = await examinedFor(authorities(authority.url), 'warning clock-differs', only);
      assert.match(found.message, /clock is (?:59|60) s behind that of/);
    } finally {
      await authority.close();
    }
  });

  it('a token that does not verify is not accepted', async () => {
    await examinedFor(authorities(`${world.authority.url}bad-signature`), 'bad timestamp-unavailable', only);
  });

  const viaSsh: Change = (text) => set('timestamp', `[{ url: "${world.authority.url}", via: ssh }]`)(text);

  it('are asked through the SSH host, if the configuration says so', async () => {
    const findings = await examined(viaSsh);
    assert.deepEqual(brief(findings), []);
    const [answered] = findings.filter(({ check }) => check.startsWith('timestamps'));
    assert.match(answered?.message ?? '', /^http:\/\/127\.0\.0\.1:\d+\/ via ssh answered in \d+ ms/);
  });

  it('timestamp-forwarding: the SSH host does not permit it; the hint has the line for its sshd_config', async () => {
    await world.sshd.authorize(`restrict ${await makeKey(key('restricted'))}`);
    const change: Change = (text) => set('identity', 'keys/restricted')(viaSsh(text));
    const found = await examinedFor(change, 'bad timestamp-forwarding', only);
    assert.match(found.hint ?? '', /PermitOpen 127\.0\.0\.1:\d+/);
  });

  it('are asked by courier, if the configuration says so', async () => {
    const change = set('timestamp', `[{ url: "${world.authority.url}", via: courier }]`);
    const config: CourierConfig = {
      file: '',
      control: { url: `file://${world.control}` },
      trust: { allowedSigners: key('receipt_signers') },
      authorities: [world.authority.url],
      timeout: 5000,
      poll: 200,
      name: 'Courier',
      state: world.at('courier-state'),
    };
    const stop = new AbortController();
    const carried = withCourier(config, pino({ enabled: false }), (courier) => courier.watch(stop.signal));
    const findings = await examined(change);
    stop.abort();
    await carried;
    assert.deepEqual(brief(findings), []);
    const [answered] = findings.filter(({ check }) => check.startsWith('timestamps'));
    assert.match(answered?.message ?? '', /via courier answered in \d+ ms/);
  });

  it('timestamp-unavailable: no courier answers', async () => {
    const authority = `{ url: "${world.authority.url}", via: courier, timeout: 2s }`;
    const found = await examinedFor(set('timestamp', `[${authority}]`), 'bad timestamp-unavailable', only);
    assert.match(found.message, /no answer by a courier within 2 s/);
    assert.match(found.hint ?? '', /is `signpipe courier` running/);
  });

  const withRoots =
    (roots: string, ...urls: string[]): Change =>
    (text) =>
      authorities(...urls)(text).replace(/^( *)timestamp: .*$/m, `$&\n$1timestampRoots: ${roots}`);

  it('timestamp-untrusted: names the missing root and the line that adds it', async () => {
    const change = withRoots('public', world.authority.url);
    const found = await examinedFor(change, 'bad timestamp-untrusted', only);
    assert.match(found.message, /^http:\/\/127[^ ]* is not used, since its root is missing: .*CN=Test root/);
    assert.match(found.hint ?? '', /timestampRoots: \[public, keys\/timestamp-root\.pem\]$/);
  });

  it('timestamp-untrusted: a warning if another authority answers', async () => {
    const strange = await startTimestampAuthority();
    try {
      const change = withRoots(`[public, ${world.at('tsa.pem')}]`, strange.url, world.authority.url);
      const found = await examinedFor(change, 'warning timestamp-untrusted', only);
      assert.ok(found.message.startsWith(strange.url));
    } finally {
      await strange.close();
    }
  });

  it('timestamp-roots-old: the public roots are older than two years', async () => {
    const change = withRoots(`[public, ${world.at('tsa.pem')}]`, world.authority.url);
    const config = await loadSignerConfig(await configured(change));
    const { checked } = await readPublicRoots();
    const old = await checkSigner(config, new Date(checked.getTime() + 732 * DAY));
    const found = old.find(({ code }) => code === 'timestamp-roots-old');
    assert.equal(found?.status, 'warning');
    assert.match(found.hint ?? '', /install a newer signpipe/);
    const fresh = await checkSigner(config, new Date(checked.getTime() + 700 * DAY));
    assert.ok(!fresh.some(({ code }) => code === 'timestamp-roots-old'));
  });

  it('timestamp-extra-content: a token that the signer would refuse is not accepted', async () => {
    const parameters = seq(oid(OID.ecdsaWithSha256), octets(Buffer.from('hidden')));
    const dirty = await alteringAuthority(world.authority.url, (token) =>
      altered(token, ({ signer }) => ({ signer: signer.map((each, at) => (at === 4 ? parameters : each)) })),
    );
    try {
      const findings = await examined(authorities(dirty.url));
      const found = requireOnly(findings, 'bad timestamp-unavailable', only);
      assert.match(found.message, /\[timestamp-extra-content\]/);
    } finally {
      dirty.close();
    }
  });

  it('no authority is fine for a test certificate', async () => {
    assert.deepEqual(brief(await examined(authorities())), []);
  });
});

describe('who may request', () => {
  const only = [/^allowed signers/];

  async function withSigners(name: string, content: string): Promise<Change> {
    await writeFile(key(name), content);
    return set('allowedSigners', `keys/${name}`);
  }

  it('nobody-may-request', async () => {
    await examinedFor(await withSigners('nobody', '# nobody\n'), 'warning nobody-may-request', only);
  });

  it('allowed-signer-expired, and who remains', async () => {
    const line = await makeKey(key('late'));
    const now = await readFile(key('allowed_signers'), 'utf8');
    const change = await withSigners('expired', `${now}late@example.org valid-before="20200101" ${line}\n`);
    const findings = await examined(change);
    const found = requireOnly(findings, 'warning allowed-signer-expired', only);
    assert.match(found.message, /expired:2: late@example\.org was valid until 20/);
    assert.match(
      messagesOf(findings, 'allowed signers (default)'),
      /1 key of 1 person valid now, in \S+expired: builder@sandbox$/m,
    );
  });

  it('allowed-signers-malformed', async () => {
    await examinedFor(
      await withSigners('broken', 'who ssh-ed25519 AAAA\n'),
      'bad allowed-signers-malformed',
      only,
    );
  });

  it('vouches-unreachable', async () => {
    await examinedFor(
      (text) => text.replace(/^trust:$/m, 'trust:\n  vouches: 1'),
      'warning vouches-unreachable',
      only,
    );
  });

  it('unsigned-requests', async () => {
    const change: Change = (text) => text.replace(/^trust:$/m, 'trust:\n  unsignedRequests: accept');
    await examinedFor(change, 'warning unsigned-requests', only);
  });
});

describe('the receipts key', () => {
  it('receipts-key-logs-in: it is the SSH identity', async () => {
    const change: Change = (text) => text.replace('key: keys/receipts_ed25519', 'key: keys/signer_ed25519');
    await examinedFor(change, 'warning receipts-key-logs-in', [/^receipts key$/]);
  });

  it('ssh-key-missing', async () => {
    const change: Change = (text) => text.replace('key: keys/receipts_ed25519', 'key: keys/none');
    await examinedFor(change, 'bad ssh-key-missing', [/^receipts key$/]);
  });
});

describe('this machine', () => {
  it('state-not-writable: it is a file', async () => {
    await writeFile(world.at('stuck'), '');
    const only = [/^state$/];
    await examinedFor(set('state', 'stuck'), 'bad state-not-writable', only);
    await examinedFor(set('state', 'stuck/below'), 'bad state-not-writable', only);
  });

  it('a signer that is using the state folder is fine', async () => {
    await mkdir(world.at('busy'));
    const unlock = await lockState(world.at('busy'));
    const findings = await examined(set('state', 'busy'));
    await unlock();
    assert.deepEqual(brief(findings), []);
    assert.match(messagesOf(findings, 'state'), new RegExp(`another signer \\(process ${process.pid}\\)`));
  });

  it('a state folder is locked and unlocked, and stays unchanged', async () => {
    await mkdir(world.at('fresh'));
    assert.deepEqual(brief(await examined(set('state', 'fresh'))), []);
    assert.deepEqual(await readdir(world.at('fresh')), []);
  });

  it('disk-small', async () => {
    const found = await examinedFor(set('limits', '{ archive: 2000TiB }'), 'warning disk-small', [/^state$/]);
    assert.match(found.message, /GiB free on its disk; .* need 4096000\.0 GiB/);
  });

  it('checksum keys: each opens and signs, or says why not; one that expires soon', async () => {
    await makeKey(key('checksums_ed25519'));
    const home = world.at('gpg');
    await mkdir(home, { mode: 0o700 });
    const gpg = (...args: string[]): Promise<unknown> =>
      run('gpg', ['--homedir', home, '--batch', '--quiet', '--passphrase', '', '--yes', ...args]);
    await gpg('--quick-generate-key', 'release', 'ed25519', 'sign', '20d');
    await gpg('--armor', '--output', key('openpgp.asc'), '--export-secret-keys', 'release');
    await run('gpgconf', ['--homedir', home, '--kill', 'all']);
    await chmod(key('openpgp.asc'), 0o600);
    await writeFile(key('minisign.key'), 'no key', { mode: 0o600 });
    const section = `checksums:
  openpgp: { key: keys/openpgp.asc }
  ssh: { key: keys/checksums_ed25519 }
  minisign: { key: keys/minisign.key }
`;
    const findings = await examined((text) => `${text}${section}`);
    const name = 'checksum keys (default)';
    assert.deepEqual(brief(findings), [
      `warning ${name} checksum-key-expires-soon`,
      `bad ${name} minisign-key-unreadable`,
    ]);
    assert.match(
      messagesOf(findings, name),
      /openpgp: [0-9A-F]{40} signs, \d+ ms; valid until .*, \d+ days left/,
    );
    assert.match(messagesOf(findings, name), /ssh: SHA256:\S+ signs, \d+ ms; it does not expire/);
  });

  it('secret-open, trust-writable: permissions', async () => {
    await copyFile(key('passphrase'), key('open-passphrase'));
    await copyFile(key('allowed_signers'), key('loose_signers'));
    await chmod(key('open-passphrase'), 0o644);
    await chmod(key('loose_signers'), 0o666);
    const findings = await examined((text) =>
      text
        .replace('keys/passphrase', 'keys/open-passphrase')
        .replace('keys/allowed_signers', 'keys/loose_signers'),
    );
    requireOnly(findings, 'warning secret-open', [/^files$/]);
    const found = findings.find(({ code }) => code === 'trust-writable');
    assert.match(found?.hint ?? '', /^chmod go-w .*loose_signers$/);
    assert.ok(!findings.some(({ status }) => status === 'bad'));
  });
});

describe('running checks', () => {
  it('all run even if others fail, each with a time limit; the findings keep their order', async () => {
    const findings = await runChecks(
      [
        { name: 'hangs', run: () => new Promise(() => {}) },
        { name: 'throws', run: () => Promise.reject(new TypeError('a bug')) },
        { name: 'works', run: async () => [{ status: 'ok', message: 'fine' }] },
      ],
      50,
    );
    assert.deepEqual(
      findings.map(({ check, status, code }) => [check, status, code]),
      [
        ['hangs', 'bad', 'check-timeout'],
        ['throws', 'bad', 'unexpected'],
        ['works', 'ok', undefined],
      ],
    );
  });
});
