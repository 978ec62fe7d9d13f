import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { repeatedKey } from '../../src/lib/json.ts';

describe('a key that an object has twice', () => {
  for (const [json, key] of [
    ['{"a": 1, "a": 2}', 'a'],
    ['{"a": 1, "\\u0061": 2}', 'a'],
    ['[{"a": {"b": 1, "c": [], "b": 2}}]', 'b'],
    [String.raw`{"\\": 1, "\\": 2}`, '\\'],
    ['{"a": {"a": 1}, "a": 2}', 'a'],
    ['{"": 1, "": 2}', ''],
    ['{"__proto__": 1, "__proto__": 2}', '__proto__'],
  ] as const)
    it(`is found in ${json}`, () => assert.equal(repeatedKey(json), key));

  for (const json of [
    '{"a": {"a": 1}, "b": [{"a": 2}, {"a": 3}]}',
    String.raw`{"a": "\"a\": 1", "b\"": ":", "c": "\\"}`,
    '{"a": ["a", "a"], "b": "a"}',
    '"a"',
    '[]',
    '1',
  ])
    it(`is not found in ${json}`, () => assert.equal(repeatedKey(json), null));

  it('is sought in time that grows with the text', () => {
    const json = JSON.stringify({ a: '\\"'.repeat(2_000_000), b: '\\'.repeat(2_000_000) });
    const start = performance.now();
    assert.equal(repeatedKey(json), null);
    assert.ok(performance.now() - start < 5000);
  });
});
