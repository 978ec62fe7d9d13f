import { buildPe, filler } from '../../../fixtures/pe.ts';
import { itKeepsTheContract } from '../contract.ts';

const program = (seed: number): Buffer =>
  buildPe({ checksum: 'right', sections: [{ name: '.text', data: filler(600, seed) }] });

itKeepsTheContract({
  format: 'pe',
  fileName: 'a.exe',
  unsigned: () => program(1),
  another: () => program(2),
  differs: 'strip-body-differs',
});
