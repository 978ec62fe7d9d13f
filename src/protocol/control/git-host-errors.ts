import { invalid, notAllowed, SignpipeError, unavailable, usage } from '../../lib/errors.ts';
import { GitFailure } from '../../lib/git/git.ts';
import { otherObjectFormat } from '../../lib/git/ls-refs.ts';
import { printable } from '../../lib/printable.ts';
import { loginOutputError } from '../../lib/ssh/login-output.ts';

interface Reading {
  pattern: RegExp;
  make: (url: string, said: string) => SignpipeError;
}

const BAD_LINE = /protocol error: bad line length character: (.{0,4})/s;

/** What git and ssh say (in the C locale), in the order in which they are to be believed. */
const READINGS: readonly Reading[] = [
  {
    pattern: /REVOKED HOST KEY DETECTED|Host key \S+ \S+ revoked|marked as revoked/,
    make: (url, said) =>
      new SignpipeError(
        'alarm',
        'host-key-revoked',
        `${url}: the host shows a key that known_hosts revokes: ${said}`,
        {
          hint: 'do not connect until its operator has given it another key',
        },
      ),
  },
  {
    pattern: /REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for \S+ has changed/,
    make: (url, said) =>
      new SignpipeError(
        'alarm',
        'host-key-changed',
        `${url}: the host shows another key than before: ${said}`,
        {
          hint: 'somebody may be in between; ask its operator for the new fingerprint before you change known_hosts',
        },
      ),
  },
  {
    pattern: /Host key verification failed|No \S+ host key is known/,
    make: (url, said) =>
      usage('host-key-unknown', `${url}: its host key is not in known_hosts: ${said}`, {
        hint: 'compare the fingerprint with the operator of the host, then add its line to known_hosts',
      }),
  },
  {
    pattern:
      /Permission denied \(|Too many authentication failures|Load key .*(invalid format|Permission denied)|UNPROTECTED PRIVATE KEY|incorrect passphrase/,
    make: (url, said) =>
      usage('git-auth-refused', `${url}: the host does not let this key in: ${said}`, {
        hint: 'is the public key of ssh.identity in authorized_keys there, and the private one readable by this account only?',
      }),
  },
  {
    pattern:
      /does not appear to be a git repository|[Rr]epository not found|not a git repository|no such repository/,
    make: (url, said) =>
      usage('git-no-repository', `${url}: there is no Git repository: ${said}`, {
        hint: 'check control.url; `signpipe init control` makes one',
      }),
  },
  {
    pattern: BAD_LINE,
    make: (url, said) => loginOutputError(url, (BAD_LINE.exec(said)?.[1] ?? '').trim()),
  },
  {
    pattern: /mismatched algorithms|does not support this repository's (hash algorithm|object format)/,
    make: otherObjectFormat,
  },
  {
    pattern: /transport '\S+' not allowed|dubious ownership/,
    make: (url, said) =>
      usage('git-transport', `${url}: git will not use it: ${said}`, {
        hint: 'use ssh, or a repository that this account owns',
      }),
  },
  {
    pattern: /fsck error|index-pack failed|unpack-objects failed|bad object|inflate|SHA1 COLLISION/i,
    make: (url, said) =>
      invalid('git-objects-refused', `${url}: it sends objects that git fsck refuses: ${said}`, {
        hint: 'find them with git fsck on the host; set receive.fsckObjects there so that none get in',
      }),
  },
  {
    pattern: /hook declined|\[remote rejected\]|protected branch|denied|pre-receive/i,
    make: (url, said) =>
      notAllowed('git-refused', `${url}: the host refuses the push: ${said}`, {
        hint: 'its hook or its access rules say no; may this key write this branch?',
      }),
  },
];

/** The lines that tell something, made fit to show; progress and empty lines fall away. */
function essence(stderr: string): string {
  const lines = stderr
    .split(/[\r\n]+/)
    .map((line) => line.replace(/^(fatal|error|remote): */, '').trim())
    .filter((line) => line !== '' && !/^[@\s]+$|^(Please make sure|and the repository exists)/.test(line));
  return printable(lines.slice(-6).join('; '), 600) || 'git gave no reason';
}

/** A failure to talk to the Git host, as an error that says whose move it is. Other errors pass through. */
export function remoteError(error: unknown, url: string): unknown {
  if (!(error instanceof GitFailure)) return error;
  const said = `${error.stdout}\n${error.stderr}`;
  const shown = printable(url, 200);
  const reading = READINGS.find(({ pattern }) => pattern.test(said));
  const text = essence(error.stderr.trim() === '' ? error.stdout : error.stderr);
  const made =
    reading?.make(shown, text) ??
    unavailable('git-unreachable', `${shown}: the Git host cannot be reached: ${text}`, {
      hint: 'is the host up, and its name and port right? It is tried again at the next poll',
    });
  made.cause = error;
  return made;
}
