import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { attachSignature } from '../../../src/lib/git/signed-commit.ts';
import { dearmor, parseSshSig } from '../../../src/lib/sshsig/sshsig.ts';
import { loadSshSigner } from '../../../src/lib/sshsig/ssh-signer.ts';
import { parsePublicKey } from '../../../src/lib/sshsig/ssh-key.ts';
import { verifyStandardSignature } from '../../../src/lib/sshsig/standard-signature.ts';
import { SshReader, sshString, uint32 } from '../../../src/lib/sshsig/ssh-wire.ts';
import { commit, SoftwareSecurityKey, SshWorld } from './ssh-world.ts';

const world = new SshWorld();
after(() => world.close());
const keys = {
  ed25519: world.key('ed25519', 'ed25519'),
  ecdsa256: world.key('ecdsa256', 'ecdsa', 256),
  ecdsa384: world.key('ecdsa384', 'ecdsa', 384),
  ecdsa521: world.key('ecdsa521', 'ecdsa', 521),
  rsa3072: world.key('rsa3072', 'rsa', 3072),
};
const message = Buffer.from('a message\n');
const principal = 'bob@example.org';

/** Asserts that ssh-keygen and git accept the signer's signatures. */
async function proveGood(signer: Awaited<ReturnType<typeof loadSshSigner>>, allowed: string): Promise<void> {
  const text = await signer.sign('file', message);
  const said = world.keygenVerify(text, message, { allowed, principal, namespace: 'file' });
  assert.ok(said.ok, said.said);
  assert.match(said.said, new RegExp(signer.fingerprint.replaceAll('+', String.raw`\+`)));
  const unsigned = commit();
  const raw = attachSignature(unsigned, await signer.sign('git', unsigned));
  const git = world.gitVerify(raw, allowed);
  assert.ok(git.ok, git.said);
  const key = parsePublicKey(signer.publicKey, 'test');
  if (key.application === null)
    assert.ok(verifyStandardSignature(key, await signer.signStandard(message), message));
}

describe('a signer with a private key', () => {
  for (const [name, line] of Object.entries(keys))
    it(`signs with ${name}, and ssh-keygen and git accept it`, async () => {
      await proveGood(await loadSshSigner(world.path(name)), `${principal} ${line}\n`);
    });

  it('makes ECDSA signatures with numbers of every length', async () => {
    const signer = await loadSshSigner(world.path('ecdsa521'));
    const lengths = new Set<number>();
    for (let count = 0; count < 60; count++) {
      const blob = dearmor(await signer.sign('git', Buffer.from([count])), 'it'); // verified before it is handed out
      lengths.add(parseSshSig(blob, 'it').signature.length);
    }
    assert.ok(lengths.size > 1);
  });

  it('has the public key and its fingerprint', async () => {
    const signer = await loadSshSigner(world.path('ed25519'));
    assert.equal(`ssh-ed25519 ${signer.publicKey.toString('base64')} ed25519`, keys.ed25519);
    assert.equal(
      signer.fingerprint,
      world.run('ssh-keygen', ['-l', '-f', world.path('ed25519')]).split(' ')[1],
    );
  });

  it('opens encrypted keys', async () => {
    const line = world.key('locked', 'ed25519', undefined, 'open sesame');
    const signer = await loadSshSigner(world.path('locked'), { passphrase: 'open sesame' });
    await proveGood(signer, `${principal} ${line}\n`);
  });

  it('uses the private key beside a .pub file', async () => {
    await proveGood(await loadSshSigner(world.path('ed25519.pub')), `${principal} ${keys.ed25519}\n`);
  });

  it('signs with a certificate beside the key', async () => {
    const ca = world.key('ca', 'ed25519');
    world.certify('ca', 'ecdsa384', ['-n', principal]);
    const signer = await loadSshSigner(world.path('ecdsa384-cert.pub'));
    await proveGood(signer, `${principal} cert-authority ${ca}\n`);
  });

  it('ssh-key-passphrase-missing', async () => {
    world.key('locked2', 'ed25519', undefined, 'open sesame');
    await assert.rejects(loadSshSigner(world.path('locked2')), {
      code: 'ssh-key-passphrase-missing',
      kind: 'usage',
    });
  });

  for (const cipher of ['aes256-ctr', 'aes256-gcm@openssh.com', 'chacha20-poly1305@openssh.com'])
    it(`ssh-key-passphrase-wrong or unreadable: ${cipher}`, async () => {
      const path = world.path(`locked-${cipher}`);
      world.run('ssh-keygen', ['-q', '-t', 'ed25519', '-Z', cipher, '-N', 'open sesame', '-f', path]);
      const failure = loadSshSigner(path, { passphrase: 'wrong secret' });
      await assert.rejects(failure, (error: Error) => {
        const known = cipher.startsWith('chacha') ? 'ssh-key-unreadable' : 'ssh-key-passphrase-wrong';
        assert.equal(Reflect.get(error, 'code'), known);
        assert.doesNotMatch(`${error.message}${String(Reflect.get(error, 'hint'))}`, /wrong secret/);
        return true;
      });
    });

  it('ssh-key-missing', async () => {
    await assert.rejects(loadSshSigner(world.path('nowhere')), { code: 'ssh-key-missing', kind: 'usage' });
  });

  for (const [name, content] of Object.entries({
    nothing: '',
    text: 'hello\n',
    'a PEM of something else': '-----BEGIN X-----\n',
  })) {
    it(`ssh-key-unreadable: ${name}`, async () => {
      const path = world.write('broken', content);
      chmodSync(path, 0o600);
      await assert.rejects(loadSshSigner(path), { code: 'ssh-key-unreadable', kind: 'usage' });
    });
  }

  it('ssh-key-permissions: a private key that others can read', async () => {
    copyFileSync(world.path('ed25519'), world.path('open'));
    chmodSync(world.path('open'), 0o644);
    await assert.rejects(loadSshSigner(world.path('open')), { code: 'ssh-key-permissions', kind: 'usage' });
  });

  it('ssh-key-mismatch: a .pub file beside another key', async () => {
    copyFileSync(world.path('ed25519'), world.path('mixed'));
    copyFileSync(world.path('ecdsa256.pub'), world.path('mixed.pub'));
    await assert.rejects(loadSshSigner(world.path('mixed.pub')), { code: 'ssh-key-mismatch', kind: 'usage' });
  });

  it('ssh-key-not-in-agent: a .pub file alone, and no agent', async () => {
    copyFileSync(world.path('ed25519.pub'), world.path('alone.pub'));
    await assert.rejects(loadSshSigner(world.path('alone.pub')), {
      code: 'ssh-key-not-in-agent',
      kind: 'usage',
    });
  });
});

describe('a signer with an ssh-agent', () => {
  const agent = world.path('agent');
  let running: ChildProcess;
  before(async () => {
    running = spawn('ssh-agent', ['-D', '-a', agent], { stdio: 'ignore' });
    for (let tries = 0; !existsSync(agent) && tries < 200; tries++) await delay(25);
    for (const name of Object.keys(keys)) {
      copyFileSync(world.path(`${name}.pub`), world.path(`agent-${name}.pub`));
      world.run('env', [`SSH_AUTH_SOCK=${agent}`, 'ssh-add', '-q', world.path(name)]);
    }
  });
  after(() => running.kill());

  for (const [name, line] of Object.entries(keys))
    it(`signs with ${name} by its .pub file, and ssh-keygen and git accept it`, async () => {
      await proveGood(
        await loadSshSigner(world.path(`agent-${name}.pub`), { agent }),
        `${principal} ${line}\n`,
      );
    });

  it('signs with a certificate', async () => {
    const ca = world.key('agent-ca', 'ed25519');
    world.key('agent-cert', 'ed25519');
    world.certify('agent-ca', 'agent-cert', ['-n', principal]);
    world.run('env', [`SSH_AUTH_SOCK=${agent}`, 'ssh-add', '-q', world.path('agent-cert')]);
    copyFileSync(world.path('agent-cert-cert.pub'), world.path('away-cert.pub'));
    const signer = await loadSshSigner(world.path('away-cert.pub'), { agent });
    await proveGood(signer, `${principal} cert-authority ${ca}\n`);
  });

  it('ssh-key-not-in-agent: another key', async () => {
    world.write('foreign.pub', new SoftwareSecurityKey('ed25519').line);
    await assert.rejects(loadSshSigner(world.path('foreign.pub'), { agent }), {
      code: 'ssh-key-not-in-agent',
      kind: 'usage',
    });
  });

  it('ssh-agent-unreachable: no agent', async () => {
    const failure = loadSshSigner(world.path('ed25519.pub'), { agent: world.path('no-agent') });
    await assert.rejects(failure, { code: 'ssh-agent-unreachable', kind: 'usage' });
  });

  it('ssh-agent-too-large: more bytes than an agent takes, and not one less', async () => {
    const signer = await loadSshSigner(world.path('agent-ed25519.pub'), { agent });
    const most = 256 * 1024 - signer.publicKey.length - 13;
    assert.equal((await signer.signStandard(Buffer.alloc(most))).length, 64);
    const failure = signer.signStandard(Buffer.alloc(most + 1));
    await assert.rejects(failure, { code: 'ssh-agent-too-large', kind: 'not-allowed' });
  });

  it('ssh-agent-refused: the key was removed in the meantime', async () => {
    world.key('brief', 'ed25519');
    world.run('env', [`SSH_AUTH_SOCK=${agent}`, 'ssh-add', '-q', world.path('brief')]);
    const signer = await loadSshSigner(world.path('brief.pub'), { agent });
    world.run('env', [`SSH_AUTH_SOCK=${agent}`, 'ssh-add', '-q', '-d', world.path('brief')]);
    await assert.rejects(signer.sign('git', message), { code: 'ssh-agent-refused', kind: 'usage' });
  });
});

/** An agent that holds a software security key, since OpenSSH's agent needs the hardware. */
function agentOf(key: SoftwareSecurityKey, answer: (data: Buffer) => Buffer): Server {
  return createServer((socket) => {
    socket.once('data', (request) => {
      const reader = new SshReader(request.subarray(5), 'a request');
      if (request[4] === 11) {
        const keys = Buffer.concat([uint32(1), sshString(key.blob), sshString('comment')]);
        return socket.write(sshString(Buffer.concat([Buffer.of(12), keys])));
      }
      assert.deepEqual(reader.string(), key.blob);
      return socket.write(sshString(Buffer.concat([Buffer.of(14), sshString(answer(reader.string()))])));
    });
  });
}

describe('a signer with a security key in an agent', () => {
  const servers: Server[] = [];
  after(() => servers.forEach((server) => server.close()));
  const listen = async (name: string, server: Server): Promise<string> => {
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(world.path(name), resolve));
    return world.path(name);
  };

  for (const kind of ['ed25519', 'ecdsa'] as const)
    it(`signs with ${kind}, and ssh-keygen and git accept it`, async () => {
      const key = new SoftwareSecurityKey(kind);
      const agent = await listen(
        `agent-${kind}`,
        agentOf(key, (data) => key.rawSign(data)),
      );
      const path = world.write(`sk-${kind}.pub`, `${key.line}\n`);
      await proveGood(await loadSshSigner(path, { agent }), `${principal} ${key.line}\n`);
    });

  it('ssh-key-type: plain bytes, before the key is asked for a touch', async () => {
    const key = new SoftwareSecurityKey('ed25519');
    const agent = await listen(
      'agent-untouched',
      agentOf(key, () => assert.fail('it was asked')),
    );
    const signer = await loadSshSigner(world.write('untouched.pub', key.line), { agent });
    await assert.rejects(signer.signStandard(message), { code: 'ssh-key-type', kind: 'usage' });
  });

  it('ssh-signature-unsound: an agent that signs something else', async () => {
    const key = new SoftwareSecurityKey('ed25519');
    const agent = await listen(
      'agent-liar',
      agentOf(key, () => key.rawSign(Buffer.from('else'))),
    );
    const signer = await loadSshSigner(world.write('liar.pub', key.line), { agent });
    await assert.rejects(signer.sign('git', message), { code: 'ssh-signature-unsound', kind: 'usage' });
  });

  for (const [name, answer] of Object.entries({
    'closes the connection': null,
    'announces four gigabytes': Buffer.from([255, 255, 255, 255]),
    'answers with nothing': Buffer.from([0, 0, 0, 0]),
    'answers with a broken list': Buffer.from([0, 0, 0, 5, 12, 0, 0, 0, 1]),
    'announces a million keys': Buffer.from([0, 0, 0, 5, 12, 0, 15, 66, 64]),
  })) {
    it(`usage: an agent that ${name}`, async () => {
      const server = createServer((socket) => {
        socket.on('error', () => {});
        socket.once('data', () => (answer ? socket.write(answer) : socket.destroy()));
      });
      const agent = await listen(`agent-${name.replaceAll(' ', '-')}`, server);
      await assert.rejects(loadSshSigner(world.path('ed25519.pub'), { agent }), { kind: 'usage' });
    });
  }
});
