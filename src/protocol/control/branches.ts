import { usage } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';

/** The branches of a control repository, by what they carry. */
export interface Branches {
  requests: string;
  receipts: string;
  /** Vouches are on `PREFIX/NAME`. */
  vouches: string;
}

export const DEFAULT_BRANCHES: Branches = { requests: 'main', receipts: 'signed', vouches: 'vouch' };

/** The heads that a signer accepts: commit ids, null for a branch that does not exist. */
export interface MainHeads {
  requests: string | null;
  receipts: string | null;
}

/** The heads of all branches. */
export interface Heads extends MainHeads {
  /** By NAME of `vouch/NAME`. */
  vouches: Map<string, string>;
}

/** Of more branches of vouches than this, only the first are read, in order of their names. */
const VOUCH_BRANCH_LIMIT = 64;

const BRANCH = /^[A-Za-z0-9_][A-Za-z0-9._+@=-]*(\/[A-Za-z0-9_][A-Za-z0-9._+@=-]*)*$/;

export const isBranch = (name: string): boolean =>
  BRANCH.test(name) && !/\.\.|\.lock(\/|$)|\.(\/|$)|@$/.test(name) && name.length <= 200;

export function requireBranches(branches: Branches): Branches {
  for (const name of Object.values(branches) as string[])
    if (!isBranch(name))
      throw usage('control-branch', `"${printable(name, 200)}" is not a branch name that can be used`);
  return branches;
}

/** The heads of our branches among all branches of a remote. */
export function selectHeads(branches: Branches, remote: ReadonlyMap<string, string>): Heads {
  const prefix = `${branches.vouches}/`;
  const vouches = [...remote]
    .filter(([name]) => name.startsWith(prefix) && isBranch(name))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, VOUCH_BRANCH_LIMIT)
    .map(([name, id]): [string, string] => [name.slice(prefix.length), id]);
  return {
    requests: remote.get(branches.requests) ?? null,
    receipts: remote.get(branches.receipts) ?? null,
    vouches: new Map(vouches),
  };
}

/** The commits of our branches by branch name: the inverse of `selectHeads`. */
export function branchMap(branches: Branches, heads: Heads): Map<string, string> {
  const all: [string, string | null][] = [
    [branches.requests, heads.requests],
    [branches.receipts, heads.receipts],
    ...[...heads.vouches].map(([name, id]): [string, string] => [`${branches.vouches}/${name}`, id]),
  ];
  return new Map(all.filter((pair): pair is [string, string] => pair[1] !== null));
}

export const sameBranches = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean =>
  a.size === b.size && [...a].every(([name, id]) => b.get(name) === id);
