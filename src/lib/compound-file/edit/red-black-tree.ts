import { NO_ENTRY } from '../directory-entry.ts';

/** The links of the nodes of a tree, which are numbers; `NO_ENTRY` is none. */
export interface TreeNodes {
  left(node: number): number;
  right(node: number): number;
  isRed(node: number): boolean;
  setLeft(node: number, child: number): void;
  setRight(node: number, child: number): void;
  setRed(node: number, red: boolean): void;
  /** The order of the tree: negative if the first comes before the second. */
  compare(one: number, other: number): number;
}

/**
 * Inserts a node without children into a red-black tree from the top down, as ole32 does: on the way down, a node with two
 * red children becomes red and they black. Returns the top of the tree. In a tree that is not red-black, as some writers
 * make them, the new node comes into its place all the same.
 */
export function insertTopDown(nodes: TreeNodes, top: number, added: number): number {
  return new Insertion(nodes, top, added).run();
}

class Insertion {
  /** The nodes from the top to the current one. */
  private readonly path: number[] = [];

  constructor(
    private readonly nodes: TreeNodes,
    private top: number,
    private readonly added: number,
  ) {}

  run(): number {
    const { nodes, added } = this;
    nodes.setRed(added, true);
    for (let node = this.top; node !== NO_ENTRY; node = this.nextNode()) {
      this.path.push(node);
      const [left, right] = [nodes.left(node), nodes.right(node)];
      if (left !== NO_ENTRY && right !== NO_ENTRY && nodes.isRed(left) && nodes.isRed(right))
        this.split(node, left, right);
    }
    const parent = this.path.at(-1);
    if (parent === undefined) this.top = added;
    else this.link(parent, added);
    this.path.push(added);
    this.repair();
    nodes.setRed(this.top, false);
    return this.top;
  }

  private split(node: number, left: number, right: number): void {
    this.nodes.setRed(node, true);
    this.nodes.setRed(left, false);
    this.nodes.setRed(right, false);
    this.repair();
    this.nodes.setRed(this.top, false);
  }

  /** Rotates at the grandparent if the current node and its parent are red; the path then leads to the current node. */
  private repair(): void {
    const { nodes, path } = this;
    const [node, parent, grandparent] = [path.at(-1), path.at(-2), path.at(-3)];
    if (node === undefined || parent === undefined || grandparent === undefined) return;
    if (!nodes.isRed(node) || !nodes.isRed(parent)) return;
    const great = path.at(-4);
    const outer = (nodes.left(grandparent) === parent) === (nodes.left(parent) === node);
    const risen = outer ? parent : node;
    if (!outer) {
      this.rotate(parent, node);
      this.relink(grandparent, parent, node);
    }
    this.rotate(grandparent, risen);
    if (great === undefined) this.top = risen;
    else this.relink(great, grandparent, risen);
    nodes.setRed(grandparent, true);
    nodes.setRed(risen, false);
    path.length -= 3;
    path.push(...(outer ? [risen, node] : [risen]));
  }

  /** Makes a child the parent of its parent. */
  private rotate(parent: number, child: number): void {
    const { nodes } = this;
    if (nodes.left(parent) === child) {
      nodes.setLeft(parent, nodes.right(child));
      nodes.setRight(child, parent);
    } else {
      nodes.setRight(parent, nodes.left(child));
      nodes.setLeft(child, parent);
    }
  }

  private relink(parent: number, before: number, now: number): void {
    if (this.nodes.left(parent) === before) this.nodes.setLeft(parent, now);
    else this.nodes.setRight(parent, now);
  }

  private link(parent: number, child: number): void {
    if (this.nodes.compare(child, parent) < 0) this.nodes.setLeft(parent, child);
    else this.nodes.setRight(parent, child);
  }

  /** The child of the current node below which the new one belongs. */
  private nextNode(): number {
    const node = this.path.at(-1) ?? NO_ENTRY;
    return this.nodes.compare(this.added, node) < 0 ? this.nodes.left(node) : this.nodes.right(node);
  }
}
