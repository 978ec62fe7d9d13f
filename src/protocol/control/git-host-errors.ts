import { invalid, notAllowed, SignpipeError, unavailable, usage } from '../../lib/errors.ts';
import { GitFailure } from '../../lib/git/git.ts';
import { otherObjectFormat } from '../../lib/git/ls-refs.ts';
import { printable } from '../../lib/printable.ts';
import { loginOutputError } from '../../lib/ssh/login-output.ts';

const BAD_LINE = /protocol error: bad line length character: (.{0,4})/s;

/** Messages of git and ssh (in the C locale). The first that matches counts. */
const KNOWN_FAILURES: readonly { pattern: RegExp; make: (url: string, text: string) => SignpipeError }[] = [
  {
    pattern: /REVOKED HOST KEY DETECTED|Host key \S+ \S+ revoked|marked as revoked/,
    make: (url, text) =>
      new SignpipeError(
        'alarm',
        'host-key-revoked',
        `${url}: the host has a key that known_hosts revokes: ${text}`,
        { hint: 'do not connect until its operator has replaced the key' },
      ),
  },
  {
    pattern: /REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for \S+ has changed/,
    make: (url, text) =>
      new SignpipeError(
        'alarm',
        'host-key-changed',
        `${url}: the host has another key than before: ${text}`,
        {
          hint: 'this may be an attack; ask its operator for the new fingerprint before you change known_hosts',
        },
      ),
  },
  {
    pattern: /Host key verification failed|No \S+ host key is known/,
    make: (url, text) =>
      usage('host-key-unknown', `${url}: its host key is not in known_hosts: ${text}`, {
        hint: 'check the fingerprint with the operator of the host, then add its line to known_hosts',
      }),
  },
  {
    pattern:
      /Permission denied \(|Too many authentication failures|Load key .*(invalid format|Permission denied)|UNPROTECTED PRIVATE KEY|incorrect passphrase/,
    make: (url, text) =>
      usage('git-auth-refused', `${url}: the host does not accept this key: ${text}`, {
        hint: 'is the public key of ssh.identity in authorized_keys there, and the private one readable by this account only?',
      }),
  },
  {
    pattern:
      /does not appear to be a git repository|[Rr]epository not found|not a git repository|no such repository/,
    make: (url, text) =>
      usage('git-no-repository', `${url}: there is no Git repository: ${text}`, {
        hint: 'check control.url; `signpipe init control` makes one',
      }),
  },
  {
    pattern: BAD_LINE,
    make: (url, text) => loginOutputError(url, (BAD_LINE.exec(text)?.[1] ?? '').trim()),
  },
  {
    pattern: /mismatched algorithms|does not support this repository's (hash algorithm|object format)/,
    make: otherObjectFormat,
  },
  {
    pattern: /transport '\S+' not allowed|dubious ownership/,
    make: (url, text) =>
      usage('git-transport', `${url}: git refuses to use it: ${text}`, {
        hint: 'use ssh, or a repository that this account owns',
      }),
  },
  {
    pattern: /fsck error|index-pack failed|unpack-objects failed|bad object|inflate|SHA1 COLLISION/i,
    make: (url, text) =>
      invalid('git-objects-refused', `${url}: the host sends objects that git fsck refuses: ${text}`, {
        hint: 'find them with git fsck on the host; set receive.fsckObjects there to keep such objects out',
      }),
  },
  {
    pattern: /hook declined|\[remote rejected\]|protected branch|denied|pre-receive/i,
    make: (url, text) =>
      notAllowed('git-refused', `${url}: the host refuses the push: ${text}`, {
        hint: 'its hook or its access rules forbid it: may this key write to this branch?',
      }),
  },
];

/** The informative lines of git's messages, safe to print: without progress and empty lines. */
function summarize(stderr: string): string {
  const lines = stderr
    .split(/[\r\n]+/)
    .map((line) => line.replace(/^(fatal|error|remote): */, '').trim())
    .filter((line) => line !== '' && !/^[@\s]+$|^(Please make sure|and the repository exists)/.test(line));
  return printable(lines.slice(-6).join('; '), 600) || 'git gave no reason';
}

/** Turns a failure of git to reach or use the Git host into an error that says what to do. Returns other errors as they are. */
export function remoteError(error: unknown, url: string): unknown {
  if (!(error instanceof GitFailure)) return error;
  const output = `${error.stdout}\n${error.stderr}`;
  const shown = printable(url, 200);
  const failure = KNOWN_FAILURES.find(({ pattern }) => pattern.test(output));
  const text = summarize(error.stderr.trim() === '' ? error.stdout : error.stderr);
  const result =
    failure?.make(shown, text) ??
    unavailable('git-unreachable', `${shown}: the Git host cannot be reached: ${text}`, {
      hint: 'is the host running, and are its name and port right? The next poll tries again',
    });
  result.cause = error;
  return result;
}
