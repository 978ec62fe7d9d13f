import { connect } from 'node:net';
import { messageOf, notAllowed, usage } from '../errors.ts';
import { SshReader, sshString, uint32 } from './ssh-wire.ts';

/** Message numbers and flags of draft-ietf-sshm-ssh-agent, sections 3.5, 3.6 and 5. */
const REQUEST_IDENTITIES = 11;
const IDENTITIES_ANSWER = 12;
const SIGN_REQUEST = 13;
const SIGN_RESPONSE = 14;
const RSA_SHA2_512 = 4;

/** OpenSSH's AGENT_MAX_LEN: its agent closes the connection at longer messages. */
const MAX_REQUEST = 256 * 1024;
const MAX_REPLY = 256 * 1024;
const MAX_KEYS = 1000;
const LIST_MS = 10_000;
/** A person may have to find the security key, or to confirm in the agent. */
const SIGN_MS = 120_000;

/**
 * A client of the ssh-agent at a socket. (ssh2 has a client as well, but it drops the flags and the counter of a
 * security key's signature, and skips security keys and certificates.) Errors are `usage`.
 */
export class SshAgent {
  constructor(private readonly socket: string) {}

  /** The public keys and certificates that the agent can sign with, in wire form. */
  list(): Promise<Buffer[]> {
    return this.#ask(Buffer.of(REQUEST_IDENTITIES), IDENTITIES_ANSWER, LIST_MS, (reader) => {
      const count = reader.uint32();
      if (count > MAX_KEYS) throw reader.error(`offers ${count} keys`);
      return Array.from({ length: count }, () => {
        const key = reader.string();
        reader.string(); // comment
        return key;
      });
    });
  }

  /** Whether the agent can sign with a key or certificate, given in wire form. */
  async holds(publicKey: Buffer): Promise<boolean> {
    return (await this.list()).some((blob) => blob.equals(publicKey));
  }

  /**
   * Signs `data`; returns the signature in wire form. RSA keys sign with SHA-512. Throws `ssh-agent-too-large`
   * (not-allowed) for more than an agent takes.
   */
  async sign(publicKey: Buffer, data: Buffer): Promise<Buffer> {
    const request = Buffer.concat([
      Buffer.of(SIGN_REQUEST),
      ...[publicKey, data].map(sshString),
      uint32(RSA_SHA2_512),
    ]);
    if (request.length > MAX_REQUEST)
      throw notAllowed(
        'ssh-agent-too-large',
        `${data.length} bytes are to be signed, and an ssh-agent takes at most ${MAX_REQUEST}`,
        {
          hint: 'submit several requests with fewer programs each, or ask the operator of the signer to use a key file',
        },
      );
    return this.#ask(request, SIGN_RESPONSE, SIGN_MS, (reader) => reader.string());
  }

  async #ask<T>(
    request: Buffer,
    expected: number,
    timeoutMs: number,
    read: (reader: SshReader) => T,
  ): Promise<T> {
    const agent = `the ssh-agent at ${this.socket}`;
    const reader = new SshReader(await this.#exchange(request, timeoutMs), `the answer of ${agent}`);
    try {
      if (reader.byte() === expected) {
        const value = read(reader);
        reader.end();
        return value;
      }
    } catch (error) {
      throw usage('ssh-agent-unsound', messageOf(error), {
        hint: `check which program listens at ${this.socket}`,
        cause: error,
      });
    }
    throw usage('ssh-agent-refused', `${agent} refused to sign`, {
      hint: 'check whether it is locked, or waited for a confirmation or a touch',
    });
  }

  async #exchange(request: Buffer, timeoutMs: number): Promise<Buffer> {
    try {
      return await exchange(this.socket, sshString(request), timeoutMs);
    } catch (error) {
      throw usage(
        'ssh-agent-unreachable',
        `the ssh-agent at ${this.socket} does not answer: ${messageOf(error)}`,
        {
          hint: 'start one with ssh-agent, and give its socket (SSH_AUTH_SOCK)',
          cause: error,
        },
      );
    }
  }
}

/** Sends one request over a new connection and returns the reply, without its length field. */
function exchange(path: string, request: Buffer, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => socket.write(request));
    let received = Buffer.alloc(0);
    const timer = setTimeout(() => socket.destroy(new Error(`no reply within ${timeoutMs} ms`)), timeoutMs);
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const length = received.length < 4 ? 0 : received.readUInt32BE();
      if (length > MAX_REPLY) socket.destroy(new Error(`it announced ${length} bytes`));
      else if (received.length >= 4 && received.length >= length + 4) {
        resolve(received.subarray(4, length + 4));
        socket.destroy();
      }
    });
    socket.on('error', reject);
    socket.on('close', () => {
      clearTimeout(timer);
      reject(new Error('it closed the connection')); // Has no effect after a reply.
    });
  });
}
