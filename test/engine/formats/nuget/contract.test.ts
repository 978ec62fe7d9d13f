import { buildNuget } from '../../../fixtures/nuget.ts';
import { itKeepsTheContract } from '../contract.ts';

itKeepsTheContract({
  format: 'nuget',
  fileName: 'example.1.0.0.nupkg',
  key: 'rsa2048',
  authorityKey: 'rsa2048',
  unsigned: () => buildNuget('one'),
  another: () => buildNuget('two'),
  differs: 'strip-body-differs',
  appends: false,
});
