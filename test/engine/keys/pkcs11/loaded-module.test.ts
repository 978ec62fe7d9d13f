import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { findAll, initialize } from '../../../../src/engine/keys/pkcs11/loaded-module.ts';

describe('a module', () => {
  it('that cannot lock is initialized without, for one thread', () => {
    const given: unknown[] = [];
    const initialized = initialize({
      C_Initialize(options?: unknown) {
        given.push(options);
        if (options !== undefined) throw new Error('CKR_CANT_LOCK');
      },
    });
    assert.equal(initialized, false);
    assert.deepEqual(given, [{ flags: 2 }, undefined]);
    assert.equal(initialize({ C_Initialize: () => {} }), true);
  });

  it('that cannot be initialized for another reason is not used', () => {
    const module = {
      C_Initialize(): void {
        throw new Error('CKR_GENERAL_ERROR');
      },
    };
    assert.throws(() => initialize(module), /CKR_GENERAL_ERROR/);
  });
});

describe('a search', () => {
  const stock = (count: number): ((most: number) => number[]) => {
    const left = Array.from({ length: count }, (_, n) => n);
    return (most) => left.splice(0, Math.min(most, 3));
  };

  it('goes on until there is no more: modules return some at a time', () => {
    assert.deepEqual(findAll(stock(7), 100), [0, 1, 2, 3, 4, 5, 6]);
    assert.deepEqual(findAll(stock(0), 100), []);
  });

  it('ends at its limit', () => {
    assert.deepEqual(findAll(stock(7), 5), [0, 1, 2, 3, 4]);
  });
});
