import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isBounded, repeatedKey } from '../../src/lib/json.ts';

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

describe('the number of values in a JSON text', () => {
  for (const [json, values] of [
    ['1', 1],
    ['{}', 2],
    ['[1, 2]', 3],
    ['{"a": [1, {"b": "{,[,"}], "c": "\\""}', 6],
    ['"', 1],
    ['"\\"', 1],
    ['', 1],
  ] as const)
    it(`is bounded in ${json}`, () => {
      assert.ok(isBounded(json, values));
      if (values > 1) assert.ok(!isBounded(json, values - 1));
    });

  it('is not the only bound: so is the depth', () => {
    assert.ok(isBounded('['.repeat(64) + ']'.repeat(64), 1000));
    assert.ok(!isBounded('['.repeat(65) + ']'.repeat(65), 1000));
    assert.ok(isBounded('[]'.repeat(100), 1000));
  });

  it('is found to be too large without reading on', () => {
    const start = performance.now();
    assert.ok(!isBounded('['.repeat(50_000_000), 1000));
    assert.ok(performance.now() - start < 1000);
  });
});
