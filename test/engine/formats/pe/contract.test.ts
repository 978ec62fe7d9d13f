import { buildPe, filler } from '../../../fixtures/pe.ts';
import { itKeepsTheContract } from '../contract.ts';

const program = (seed: number, subsystem: 'console' | 'efi' = 'console'): Buffer =>
  buildPe({ subsystem, checksum: 'right', sections: [{ name: '.text', data: filler(600, seed) }] });
const forFirmware = (seed: number): Buffer => program(seed, 'efi');

itKeepsTheContract({
  format: 'pe',
  fileName: 'a.exe',
  unsigned: () => program(1),
  another: () => program(2),
  differs: 'strip-body-differs',
});

// Firmware reads signatures side by side: a second one is appended in another way.
itKeepsTheContract({
  format: 'pe',
  fileName: 'a.efi',
  unsigned: () => forFirmware(1),
  another: () => forFirmware(2),
  differs: 'strip-body-differs',
  flips: false,
});
