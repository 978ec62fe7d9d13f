import { matchesWildcardList } from './wildcards.ts';

/** A node of the forest: a name or a key. */
const nameNode = (name: string): string => `name ${name}`;
const keyNode = (fingerprint: string): string => `key ${fingerprint}`;

/** A signer's key and the names that belong to it. */
export interface SignerKey {
  /** `SHA256:…` of the plain key. For a certificate: of the certified key, never of its authority's. */
  readonly fingerprint: string;
  /** For a certificate: its own names, never the pattern of its authority's line. */
  readonly names: readonly string[];
}

/** The fields of an allowed signers line that identify a person. */
interface SignerLine {
  readonly principals: readonly string[];
  readonly key: { readonly fingerprint: string };
  readonly certAuthority: boolean;
}

const hasWildcard = (name: string): boolean => /[*?]/.test(name);

/**
 * Decides which signers are the same person: principals that share a key or a name are one person, transitively.
 * Only this class decides whose vouches count as one and who may not vouch for whose request; the signer, `wait`,
 * `audit` and `doctor` all use it.
 *
 * A disjoint-set forest over names and keys. It only grows: a certificate's names are added when it is seen.
 */
export class Persons {
  private constructor(
    private readonly parents: Map<string, string>,
    /** Lines with a wildcard; their keys may sign under any name that matches. */
    private readonly wildcardLines: readonly SignerLine[],
  ) {}

  static empty(): Persons {
    return new Persons(new Map(), []);
  }

  /**
   * The persons of an allowed signers file. All lines count, whatever their dates and namespaces, since a retired
   * key's owner is still the same person; except lines of authorities, which name no person.
   */
  static fromLines(lines: readonly SignerLine[]): Persons {
    const signers = lines.filter(({ certAuthority }) => !certAuthority);
    const persons = new Persons(
      new Map(),
      signers.filter(({ principals }) => principals.some(hasWildcard)),
    );
    for (const { principals, key } of signers)
      persons.add({
        fingerprint: key.fingerprint,
        names: principals.filter((name) => !name.startsWith('!')),
      });
    return persons;
  }

  /** A copy, to add more to. */
  copy(): Persons {
    return new Persons(new Map(this.parents), this.wildcardLines);
  }

  /** Records that these names and this key belong to one person. */
  add({ fingerprint, names }: SignerKey): void {
    for (const name of names) {
      const isNew = !this.parents.has(nameNode(name));
      this.join(nameNode(name), keyNode(fingerprint));
      if (isNew) this.joinMatchingLines(name);
    }
  }

  private joinMatchingLines(name: string): void {
    for (const { principals, key } of this.wildcardLines)
      if (matchesWildcardList(name, principals)) this.join(nameNode(name), keyNode(key.fingerprint));
  }

  private join(a: string, b: string): void {
    this.parents.set(this.find(a), this.find(b));
  }

  /** An identifier that all keys of one person share; it changes when more is added. */
  personId({ fingerprint }: Pick<SignerKey, 'fingerprint'>): string {
    return this.find(keyNode(fingerprint));
  }

  /** Whether two keys with their names belong to one person; nothing is added. */
  isSamePerson(a: SignerKey, b: SignerKey): boolean {
    const nodesOfA = new Set(this.nodesOf(a));
    return this.nodesOf(b).some((node) => nodesOfA.has(node));
  }

  private nodesOf({ fingerprint, names }: SignerKey): string[] {
    return [keyNode(fingerprint), ...names.map(nameNode)].map((node) => this.find(node));
  }

  /** Finds the root and shortens the path to it. A root is its own parent, or not in the map. */
  private find(node: string): string {
    let root = node;
    for (let up = this.parents.get(root); up !== undefined && up !== root; up = this.parents.get(root))
      root = up;
    for (let at = node; at !== root;) {
      const up = this.parents.get(at) ?? root;
      this.parents.set(at, root);
      at = up;
    }
    return root;
  }
}
