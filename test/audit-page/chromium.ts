/** Headless Chromium, driven by the DevTools protocol over two pipes: no port, no further package. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

type Message = {
  id?: number;
  method?: string;
  params?: Record<string, unknown>;
  result?: unknown;
  error?: unknown;
};

/** Events of the page for tests. */
export interface Seen {
  /** URLs that the page requested, except its own. */
  readonly requests: string[];
  /** Errors, warnings and refusals on the console, and exceptions. */
  readonly complaints: string[];
}

const FLAGS = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-extensions',
  '--disable-dev-shm-usage',
  '--hide-scrollbars',
  '--remote-debugging-pipe',
];

/** One browser with one page. */
export class Chromium {
  readonly seen: Seen = { requests: [], complaints: [] };
  private readonly waiting = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (e: Error) => void }
  >();
  private readonly listeners = new Map<string, () => void>();
  private buffer = '';
  private last = 0;
  private session = '';

  private constructor(
    private readonly child: ChildProcess,
    private readonly profile: string,
    private readonly out: Writable,
  ) {}

  static async start(): Promise<Chromium> {
    const profile = await mkdtemp(join(tmpdir(), 'signpipe-chromium-'));
    const child = spawn('chromium', [...FLAGS, `--user-data-dir=${profile}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    });
    const [, , , into, from] = child.stdio as unknown as [null, null, null, Writable, Readable];
    const browser = new Chromium(child, profile, into);
    from.setEncoding('utf8').on('data', (text: string) => browser.take(text));
    child.on('error', (error) => browser.fail(error));
    child.on('exit', () => browser.fail(new Error('chromium ended')));
    await browser.attach();
    return browser;
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    await this.send('Browser.close', {}, null).catch(() => this.child.kill('SIGKILL'));
    await ended;
    await rm(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }

  private async attach(): Promise<void> {
    const { targetInfos } = (await this.send('Target.getTargets', {}, null)) as {
      targetInfos: { targetId: string; type: string }[];
    };
    const targetId = targetInfos.find(({ type }) => type === 'page')?.targetId;
    const { sessionId } = (await this.send('Target.attachToTarget', { targetId, flatten: true }, null)) as {
      sessionId: string;
    };
    this.session = sessionId;
    for (const domain of ['Page', 'Network', 'Runtime', 'Log']) await this.send(`${domain}.enable`);
  }

  private take(text: string): void {
    const messages = (this.buffer + text).split('\0');
    this.buffer = messages.pop() ?? '';
    for (const message of messages) this.receive(JSON.parse(message) as Message);
  }

  private receive({ id, method, params, result, error }: Message): void {
    if (id !== undefined) {
      const waiting = this.waiting.get(id);
      this.waiting.delete(id);
      if (error === undefined) waiting?.resolve(result);
      else waiting?.reject(new Error(JSON.stringify(error)));
      return;
    }
    this.note(method ?? '', params ?? {});
    this.listeners.get(method ?? '')?.();
  }

  private note(method: string, params: Record<string, unknown>): void {
    if (method === 'Network.requestWillBeSent')
      this.seen.requests.push((params['request'] as { url: string }).url);
    if (method === 'Log.entryAdded') this.seen.complaints.push((params['entry'] as { text: string }).text);
    if (method === 'Runtime.exceptionThrown')
      this.seen.complaints.push(JSON.stringify(params['exceptionDetails']));
    if (method === 'Runtime.consoleAPICalled') this.seen.complaints.push(JSON.stringify(params['args']));
    if (method === 'Page.javascriptDialogOpening')
      this.seen.complaints.push(`dialog: ${String(params['message'])}`);
  }

  private fail(error: Error): void {
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }

  /** Sends one command of the protocol, to the page unless `session` is null. */
  send(method: string, params: object = {}, session: string | null = this.session): Promise<unknown> {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      const message = { id, method, params, ...(session === null ? {} : { sessionId: session }) };
      this.out.write(`${JSON.stringify(message)}\0`);
    });
  }

  /** Opens a page, and waits until `ready` is true in it. */
  async open(url: string, ready = `document.documentElement.dataset.ready === 'true'`): Promise<void> {
    const loaded = new Promise<void>((resolve) => this.listeners.set('Page.loadEventFired', resolve));
    await this.send('Page.navigate', { url });
    await loaded;
    await this.until(ready);
    const [path] = url.split('#');
    this.seen.requests.splice(
      0,
      Infinity,
      ...this.seen.requests.filter((each) => each !== path && each !== url),
    );
  }

  /** The value of an expression in the page. */
  async evaluate<T>(expression: string): Promise<T> {
    const answer = (await this.send('Runtime.evaluate', {
      expression,
      returnByValue: true,
      awaitPromise: true,
    })) as { result: { value: T }; exceptionDetails?: unknown };
    if (answer.exceptionDetails !== undefined) throw new Error(JSON.stringify(answer.exceptionDetails));
    return answer.result.value;
  }

  async until(expression: string, milliseconds = 10_000): Promise<void> {
    const deadline = Date.now() + milliseconds;
    while (!(await this.evaluate<boolean>(expression))) {
      if (Date.now() > deadline) throw new Error(`never true: ${expression}`);
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  }

  /** Presses and releases a key. */
  async press(key: string, code = key, text = ''): Promise<void> {
    const keyCode = { Enter: 13, Tab: 9, Escape: 27 }[key] ?? 0;
    const common = { key, code, windowsVirtualKeyCode: keyCode };
    await this.send('Input.dispatchKeyEvent', {
      type: text === '' ? 'rawKeyDown' : 'keyDown',
      text,
      ...common,
    });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...common });
  }

  /** Types into the focused element. */
  async type(text: string): Promise<void> {
    await this.send('Input.insertText', { text });
  }

  /** Clicks in the middle of the first element that a selector matches. */
  async click(selector: string): Promise<void> {
    const { x, y } = await this.evaluate<{ x: number; y: number }>(
      `(() => { const e = document.querySelector(${JSON.stringify(selector)}); e.scrollIntoView({ block: 'center' });
        const b = e.getBoundingClientRect(); return { x: b.x + b.width / 2, y: b.y + b.height / 2 }; })()`,
    );
    for (const type of ['mousePressed', 'mouseReleased'])
      await this.send('Input.dispatchMouseEvent', { type, x, y, button: 'left', clickCount: 1 });
  }

  /** Sets the size of the window, and a light or dark colour scheme. */
  async look(width: number, height: number, scheme: 'light' | 'dark' = 'light'): Promise<void> {
    await this.send('Emulation.setDeviceMetricsOverride', {
      width,
      height,
      deviceScaleFactor: 1,
      mobile: width < 600,
    });
    await this.send('Emulation.setEmulatedMedia', {
      features: [{ name: 'prefers-color-scheme', value: scheme }],
    });
  }

  /** A screenshot of the window as PNG. */
  async picture(): Promise<Buffer> {
    const { data } = (await this.send('Page.captureScreenshot', { format: 'png' })) as { data: string };
    return Buffer.from(data, 'base64');
  }
}
