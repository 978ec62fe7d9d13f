import type { KeySettings } from '../../../../src/engine/keys/open.ts';
import type { SigningKey } from '../../../../src/engine/keys/signing-key.ts';
import { createLoopbackTls, type LoopbackTls } from '../../../world/cloud/loopback-tls.ts';
import { KeyProcess } from './key-process.ts';
import { Publishers, type Kind } from './publishers.ts';

/** More than signpipe waits for, so that a fault is an error at once. */
export const LATER = { 'retry-after': '3600' };

interface CloudWorldOptions<Server> {
  /** The kinds of keys that the service has; all unless given. */
  readonly kinds?: readonly Kind[];
  /** Starts the service with these keys; the environment is what its SDK needs to reach it. */
  readonly start: (
    publishers: Publishers,
    tls: LoopbackTls,
  ) => Promise<{ readonly server: Server; readonly environment: Readonly<Record<string, string>> }>;
  /** The URI of a key in the service. */
  readonly uriOf: (key: string, server: Server) => string;
}

/** A service on this machine, publishers with keys in it, and a process that opens them. */
export class CloudWorld<Server extends { close(): void | Promise<void> }> {
  private constructor(
    readonly publishers: Publishers,
    readonly server: Server,
    readonly environment: Readonly<Record<string, string>>,
    readonly child: KeyProcess,
    private readonly uriOf: CloudWorldOptions<Server>['uriOf'],
  ) {}

  static async start<Server extends { close(): void | Promise<void> }>({
    kinds,
    start,
    uriOf,
  }: CloudWorldOptions<Server>): Promise<CloudWorld<Server>> {
    const publishers = await Publishers.create(kinds);
    const tls = await createLoopbackTls(publishers.folder);
    const started = await start(publishers, tls);
    const environment = { NODE_EXTRA_CA_CERTS: tls.file, ...started.environment };
    return new CloudWorld(publishers, started.server, environment, KeyProcess.start(environment), uriOf);
  }

  readonly settings = (key: string, kind: Kind = 'rsa3072'): KeySettings => ({
    key: this.uriOf(key, this.server),
    certificate: this.publishers.chainFile(kind),
  });

  open(key: string, kind?: Kind, more: KeySettings = {}): Promise<SigningKey> {
    return this.child.open({ ...this.settings(key, kind), ...more });
  }

  async stop(): Promise<void> {
    await this.child.stop();
    await this.server.close();
    await this.publishers.remove();
  }
}
