/** The trees that Windows built, measured on a package before and after signtool signed it. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { NO_ENTRY } from '../../../src/lib/compound-file/directory-entry.ts';
import { SiblingTree } from '../../../src/lib/compound-file/edit/sibling-tree.ts';
import { encodeStreamName } from '../../../src/engine/formats/msi/stream-names.ts';

/** In the order of the directory, which is that in which they were added: the first is entry 1. */
const NAMES = [
  ...'!Property \u0005SummaryInformation !Feature !Upgrade !LaunchCondition !FeatureComponents !File !Component'.split(
    ' ',
  ),
  ...'!Directory !AdminUISequence !AdminExecuteSequence !AdvtExecuteSequence !InstallUISequence'.split(' '),
  ...'!InstallExecuteSequence !Media !MsiFileHash cab1.cab !_Validation !_Tables !_Columns !_StringPool'.split(
    ' ',
  ),
  ...'!_StringData \u0005MsiDigitalSignatureEx \u0005DigitalSignature'.split(' '),
];

const stored = (name: string): string => {
  if (name.startsWith('\u0005')) return name;
  return name.startsWith('!') ? encodeStreamName(name.slice(1), { table: true }) : encodeStreamName(name);
};

/** Left child, right child and colour of each entry. */
const UNSIGNED =
  '4,9,B 14,-,B 17,1,B -,-,B 18,10,B 5,12,B -,-,B 3,6,B -,-,B -,-,B 13,-,B 11,2,B -,-,R -,-,R -,-,R -,-,B 7,20,B 21,16,R -,-,R 15,19,B 22,-,B -,-,R';
const SIGNED =
  '4,9,B 14,23,R 17,1,B -,-,B 18,10,B 5,12,B -,-,B 3,6,B -,-,B -,-,B 13,-,B 11,2,B -,-,R -,24,B -,-,R -,-,B 7,20,B 21,16,R -,-,R 15,19,B 22,-,B -,-,R -,-,B -,-,R';

function described(tree: SiblingTree): string {
  const link = (to: number): string => (to === NO_ENTRY ? '-' : String(to));
  return tree.nodes
    .map((node) => `${link(tree.left(node))},${link(tree.right(node))},${tree.isRed(node) ? 'R' : 'B'}`)
    .join(' ');
}

it('inserts entries as Windows does, and finds the tree from before again', () => {
  const tree = new SiblingTree((index) => stored(NAMES[index - 1] ?? ''));
  for (let index = 1; index <= 22; index += 1) tree.insert(index);
  assert.deepEqual([tree.top, described(tree)], [8, UNSIGNED]);
  const signed = tree.copy().insert(23).insert(24);
  assert.deepEqual([signed.top, described(signed)], [8, SIGNED]);
  const again = signed.without([23, 24]);
  assert.deepEqual([again.top, described(again)], [8, UNSIGNED]);
});
