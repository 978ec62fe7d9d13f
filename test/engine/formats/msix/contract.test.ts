import type { TestPki } from '../../../../src/sandbox/certificates.ts';
import { buildBundle, buildPackage } from '../../../fixtures/msix.ts';
import { itKeepsTheContract } from '../contract.ts';
import { publisherOf } from './tools.ts';

const packageWith = (content: string) => (pki: TestPki) =>
  buildPackage({ publisher: publisherOf(pki), files: [{ name: 'data/a%20b.txt', content }] });

itKeepsTheContract({
  format: 'msix',
  fileName: 'a.msix',
  unsigned: packageWith('one\n'),
  another: packageWith('two\n'),
  differs: 'strip-body-differs',
  appends: false,
});

const bundleWith = (content: string) => (pki: TestPki) =>
  buildBundle([{ name: 'a.msix', content: packageWith(content)(pki) }], { publisher: publisherOf(pki) });

itKeepsTheContract({
  format: 'msix',
  fileName: 'a.msixbundle',
  unsigned: bundleWith('one\n'),
  another: bundleWith('two\n'),
  differs: 'strip-body-differs',
  appends: false,
  flips: false,
});
