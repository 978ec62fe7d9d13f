import { buildVsix } from '../../../fixtures/vsix.ts';
import { itKeepsTheContract } from '../contract.ts';

itKeepsTheContract({
  format: 'vsix',
  fileName: 'example.vsix',
  key: 'rsa2048',
  unsigned: () => buildVsix('one'),
  another: () => buildVsix('two'),
  differs: 'strip-body-differs',
  appends: false,
  removesExactly: false,
  // In flips.test.ts, with right CRC-32s: else the zip shows every change in a part.
  flips: false,
});
