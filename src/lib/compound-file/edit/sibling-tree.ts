import { compareNames } from '../entry-names.ts';
import { NO_ENTRY } from '../directory-entry.ts';
import { insertTopDown, type TreeNodes } from './red-black-tree.ts';

interface Links {
  left: number;
  right: number;
  red: boolean;
}

/** The tree of the entries of one storage, in memory. */
export class SiblingTree implements TreeNodes {
  private readonly links = new Map<number, Links>();
  top = NO_ENTRY;

  constructor(private readonly nameOf: (entry: number) => string) {}

  left = (node: number): number => this.of(node).left;
  right = (node: number): number => this.of(node).right;
  isRed = (node: number): boolean => this.of(node).red;
  compare = (one: number, other: number): number => compareNames(this.nameOf(one), this.nameOf(other));

  setLeft(node: number, child: number): void {
    this.of(node).left = child;
  }

  setRight(node: number, child: number): void {
    this.of(node).right = child;
  }

  setRed(node: number, red: boolean): void {
    this.of(node).red = red;
  }

  /** Adds a node with the links that it has already. */
  put(node: number, links: Readonly<Links>): void {
    this.links.set(node, { ...links });
  }

  get nodes(): number[] {
    return [...this.links.keys()];
  }

  insert(node: number): this {
    this.put(node, { left: NO_ENTRY, right: NO_ENTRY, red: true });
    this.top = insertTopDown(this, this.top, node);
    return this;
  }

  copy(): SiblingTree {
    const copy = new SiblingTree(this.nameOf);
    for (const [node, links] of this.links) copy.put(node, links);
    copy.top = this.top;
    return copy;
  }

  equals(other: SiblingTree): boolean {
    if (this.top !== other.top || this.links.size !== other.links.size) return false;
    return [...this.links].every(([node, { left, right, red }]) => {
      const links = other.links.get(node);
      return links?.left === left && links.right === right && links.red === red;
    });
  }

  /** The tree without nodes that were inserted in this order; see `undoInsertions`. */
  without(removed: readonly number[]): SiblingTree {
    return undoInsertions(this, removed, this.nameOf);
  }

  /** Removes a red node without children; false if it is not one. */
  dropRedLeaf(node: number): boolean {
    const { left, right, red } = this.of(node);
    if (!red || left !== NO_ENTRY || right !== NO_ENTRY) return false;
    this.links.delete(node);
    if (this.top === node) this.top = NO_ENTRY;
    for (const links of this.links.values()) {
      if (links.left === node) links.left = NO_ENTRY;
      if (links.right === node) links.right = NO_ENTRY;
    }
    return true;
  }

  private of(node: number): Links {
    const links = this.links.get(node);
    if (!links) throw new RangeError(`entry ${node} is not in this storage`);
    return links;
  }
}

/**
 * The tree without the nodes that were inserted last, in this order: the tree from before, if it can be found, and otherwise
 * some red-black tree. ole32 has no published rule for deletions. Found are the trees that inserting the other entries in the
 * order of their numbers gives, and those in which the insertion did not rearrange anything.
 */
function undoInsertions(
  tree: SiblingTree,
  removed: readonly number[],
  nameOf: (entry: number) => string,
): SiblingTree {
  const others = tree.nodes.filter((node) => !removed.includes(node)).sort((one, other) => one - other);
  const rebuilt = new SiblingTree(nameOf);
  others.forEach((node) => rebuilt.insert(node));
  const cut = tree.copy();
  const leaves = [...removed].reverse().every((node) => cut.dropRedLeaf(node));
  const gives = (before: SiblingTree): boolean =>
    removed.reduce((copy, node) => copy.insert(node), before.copy()).equals(tree);
  if (gives(rebuilt)) return rebuilt;
  return leaves ? cut : rebuilt;
}
