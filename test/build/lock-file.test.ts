import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { lockFileProblems, type LockedPackage } from '../../src/build/packages/lock-file.ts';

const PINNED: LockedPackage = {
  folder: 'node_modules/a',
  name: 'a',
  version: '1.0.0',
  integrity: `sha512-${'A'.repeat(86)}==`,
};
const problemsOf = (change: Partial<LockedPackage>): string[] => lockFileProblems([{ ...PINNED, ...change }]);

describe('the check of package-lock.json', () => {
  it('accepts packages of a registry that a SHA-512 pins', () => {
    assert.deepEqual(problemsOf({}), []);
    assert.deepEqual(problemsOf({ resolved: 'https://npm.example.org/a/-/a-1.0.0.tgz' }), []);
  });

  for (const [what, change] of Object.entries({
    'has no digest': { integrity: undefined },
    'is pinned by a SHA-1 only': { integrity: 'sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=' },
    'has an empty digest': { integrity: 'sha512-' },
    'is a folder': { link: true },
    'comes from Git': { resolved: 'git+ssh://git@example.org/a.git#0123456' },
    'comes without encryption': { resolved: 'http://npm.example.org/a/-/a-1.0.0.tgz' },
    'is any file on the web': { resolved: 'https://example.org/a.tgz' },
  }))
    it(`refuses a package that ${what}`, () => assert.equal(problemsOf(change).length, 1));
});
