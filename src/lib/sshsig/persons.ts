import { matchesWildcardList } from './wildcards.ts';

/** Something that a person is known by. */
const nameNode = (name: string): string => `name ${name}`;
const keyNode = (fingerprint: string): string => `key ${fingerprint}`;

/** What is known of one signer: a key, and the names that go with it. */
export interface SignerKey {
  /** `SHA256:…` of the plain key. Of a certificate: of the key that it certifies, never of its authority's. */
  readonly fingerprint: string;
  /** Of a certificate: the names that it holds, never the pattern of its authority's line. */
  readonly names: readonly string[];
}

/** A line of an allowed signers file, as far as it says who is who. */
interface NamedKey {
  readonly principals: readonly string[];
  readonly key: { readonly fingerprint: string };
  readonly certAuthority: boolean;
}

const isWild = (name: string): boolean => /[*?]/.test(name);

/**
 * Who is one person: principals that share a key or a name are one, and so are those whom a third joins. This is
 * the one place that decides whose vouches count as one and who may not vouch for whose request; the signer, `wait`,
 * `audit` and `doctor` all ask here.
 *
 * A disjoint-set forest over names and keys. It only grows: what a certificate says is added when it is seen.
 */
export class Persons {
  private constructor(
    private readonly parents: Map<string, string>,
    /** Keys listed with a wildcard, which may sign under any name that matches. */
    private readonly wild: readonly NamedKey[],
  ) {}

  static empty(): Persons {
    return new Persons(new Map(), []);
  }

  /**
   * The persons of an allowed signers file: all lines count, whatever their dates and namespaces, since a retired
   * key's owner is still the same person. Lines of authorities name no one.
   */
  static fromLines(lines: readonly NamedKey[]): Persons {
    const named = lines.filter(({ certAuthority }) => !certAuthority);
    const persons = new Persons(
      new Map(),
      named.filter(({ principals }) => principals.some(isWild)),
    );
    for (const { principals, key } of named)
      persons.add({
        fingerprint: key.fingerprint,
        names: principals.filter((name) => !name.startsWith('!')),
      });
    return persons;
  }

  /** A copy that can learn more. */
  copy(): Persons {
    return new Persons(new Map(this.parents), this.wild);
  }

  /** Takes up that these names and this key are one person's. */
  add({ fingerprint, names }: SignerKey): void {
    for (const name of names) {
      const isNew = !this.parents.has(nameNode(name));
      this.join(nameNode(name), keyNode(fingerprint));
      if (isNew) this.joinWild(name);
    }
  }

  private joinWild(name: string): void {
    for (const { principals, key } of this.wild)
      if (matchesWildcardList(name, principals)) this.join(nameNode(name), keyNode(key.fingerprint));
  }

  private join(a: string, b: string): void {
    this.parents.set(this.find(a), this.find(b));
  }

  /** What all keys of one person have in common, and no other person's has; it changes when more is added. */
  personId({ fingerprint }: Pick<SignerKey, 'fingerprint'>): string {
    return this.find(keyNode(fingerprint));
  }

  /** Whether two identities are one person's; nothing is added. */
  isSamePerson(a: SignerKey, b: SignerKey): boolean {
    const known = new Set(this.nodesOf(a));
    return this.nodesOf(b).some((node) => known.has(node));
  }

  private nodesOf({ fingerprint, names }: SignerKey): string[] {
    return [keyNode(fingerprint), ...names.map(nameNode)].map((node) => this.find(node));
  }

  /** Finds the root, and shortens the way to it. A root is its own parent, or not known yet. */
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
