import assert from 'node:assert/strict';
import { userInfo } from 'node:os';
import { describe, it } from 'node:test';
import { parseSshUrl } from '../../../src/lib/ssh/url.ts';

describe('SSH urls', () => {
  it('are parsed into user, host, port and path', () => {
    assert.deepEqual(parseSshUrl('sftp://sign@Build.example.org:2222/srv/exchange'), {
      scheme: 'sftp',
      user: 'sign',
      host: 'build.example.org',
      port: 2222,
      path: '/srv/exchange',
    });
  });

  it('default to port 22 and the current user', () => {
    const { port, user } = parseSshUrl('ssh://host/srv/control.git');
    assert.deepEqual([port, user], [22, userInfo().username]);
  });

  it('take IPv6 addresses without their brackets', () => {
    assert.equal(parseSshUrl('scp://u@[2001:DB8::1]:22/x').host, '2001:db8::1');
  });

  it('name the home folder with /~/', () => {
    assert.equal(parseSshUrl('sftp://u@h/~/exchange').path, 'exchange');
    assert.equal(parseSshUrl('sftp://u@h/~').path, '.');
  });

  it('may contain escapes', () => {
    assert.equal(parseSshUrl('sftp://u@h/srv/my%20exchange').path, '/srv/my exchange');
  });

  const wrong: readonly [string, string][] = [
    ['https://h/x', 'another scheme'],
    ['build.example.org:exchange', 'no scheme'],
    ['sftp:///path', 'no host'],
    ['sftp://u@-oProxyCommand=x/path', 'a host like an option'],
    ['sftp://-oProxyCommand@h/path', 'a user like an option'],
    ['sftp://u@h/a%00b', 'a NUL'],
    ['sftp://u@h/a%0Ab', 'a newline'],
    ['sftp://u@h/a%zz', 'a bad escape'],
    ['sftp://u@h/path?x=1', 'a query'],
    ['sftp://u@h:99999/path', 'an impossible port'],
  ];
  for (const [url, why] of wrong)
    it(`ssh-url-invalid: ${why}`, () => {
      assert.throws(() => parseSshUrl(url), { code: 'ssh-url-invalid', kind: 'usage' });
    });

  it('ssh-url-password: a password is refused and not shown', () => {
    assert.throws(
      () => parseSshUrl('sftp://u:hunter2@h/path'),
      (error: Error) =>
        'code' in error && error.code === 'ssh-url-password' && !error.message.includes('hunter2'),
    );
  });
});
