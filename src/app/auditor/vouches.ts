import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { whoSigned } from '../../lib/git/commit-signature.ts';
import { shortId } from '../../lib/git/objects.ts';
import type { ControlRepository, Heads } from '../../protocol/control/repository.ts';
import { listRequests } from '../../protocol/control/request.ts';
import {
  comparePins,
  pinsOf,
  readVouchStatement,
  type Pins,
  type VouchStatement,
} from '../../protocol/control/vouch.ts';
import type { RequestedFile } from '../../protocol/control/zipname.ts';
import { inOrder } from '../../lib/concurrency/in-order.ts';
import { invalid, notAllowed } from '../../lib/errors.ts';
import type { SignerKey, Persons } from '../../lib/sshsig/persons.ts';
import type { CountedVouch } from './model.ts';

/** Commits that are read at the same time. */
const WIDTH = 64;

const pinKey = (what: string, sha256: string): string => `${sha256} ${what}`;

/** All commits on the branches of vouches, read once. */
export class Vouches {
  private readonly byCommit = new Map<string, VouchStatement>();
  /** Signed statements by each line that they pin. */
  private readonly byPin = new Map<string, VouchStatement[]>();

  private constructor(private readonly persons: Persons) {}

  static async read(repository: ControlRepository, heads: Heads, allowed: AllowedSigners): Promise<Vouches> {
    const vouches = new Vouches(allowed.persons());
    for (const [name, tip] of heads.vouches) {
      // A commit in the history of the request branch is not a vouch.
      const ids = await listRequests(repository, tip, heads.requests === null ? [] : [heads.requests]);
      const tasks = ids.map((id) => () => readVouchStatement(repository, { name, commit: id }, allowed));
      for await (const statement of inOrder(tasks, WIDTH)) vouches.add(statement);
    }
    return vouches;
  }

  /** The number of commits. */
  get size(): number {
    return this.byCommit.size;
  }

  /** The ids of the commits. */
  get commits(): string[] {
    return [...this.byCommit.keys()];
  }

  private add(statement: VouchStatement): void {
    this.byCommit.set(statement.commit, statement);
    if (!statement.by) return;
    this.persons.add(whoSigned(statement.by));
    for (const [what, sha256] of statement.pins) {
      const key = pinKey(what, sha256);
      const statements = this.byPin.get(key);
      if (statements) statements.push(statement);
      else this.byPin.set(key, [statement]);
    }
  }

  /** Throws `vouch-…`, or the fault of the commit, unless a vouch that a receipt counts is valid. */
  require(
    vouch: CountedVouch,
    request: { readonly files: readonly RequestedFile[] },
    requester: SignerKey | null,
  ): void {
    const what = `the vouch ${shortId(vouch.commit)} of ${vouch.signer}`;
    const statement = this.byCommit.get(vouch.commit);
    if (!statement || statement.name !== vouch.name)
      throw invalid('vouch-missing', `${what} is not on vouch/${vouch.name}`);
    if (!statement.by) throw statement.fault ?? invalid('vouch-missing', `${what} cannot be read`);
    const { principals, fingerprint } = statement.by;
    if (!principals.includes(vouch.signer) || fingerprint !== vouch.key)
      throw notAllowed(
        'vouch-signer-differs',
        `${what} is signed by ${principals.join(', ')} with ${fingerprint}, the receipt says ${vouch.key}`,
      );
    if (requester && this.persons.isSamePerson(whoSigned(statement.by), requester))
      throw notAllowed('vouch-own', `${what} is by the requester`);
    if (!agrees(statement, pinsOf(request.files)))
      throw invalid('vouch-differs', `${what} does not pin the same bytes as the request`);
  }

  /** The vouches for a request without an answer, one for each person. */
  for(request: { readonly files: readonly RequestedFile[] }, requester: SignerKey | null): CountedVouch[] {
    const pins = pinsOf(request.files);
    const [first] = pins;
    const candidates = first ? (this.byPin.get(pinKey(...first)) ?? []) : [];
    const counted: CountedVouch[] = [];
    for (const statement of candidates) {
      const { by, name, commit } = statement;
      if (
        !by ||
        !agrees(statement, pins) ||
        (requester && this.persons.isSamePerson(whoSigned(by), requester))
      )
        continue;
      const vouch = { name, signer: by.principal, key: by.fingerprint, commit };
      if (!counted.some((each) => this.repeats(each, vouch))) counted.push(vouch);
    }
    return counted;
  }

  /** Whether two vouches are by one person, and so count once. */
  repeats(a: CountedVouch, b: CountedVouch): boolean {
    return this.persons.isSamePerson(signerKeyOf(a), signerKeyOf(b));
  }
}

const signerKeyOf = ({ signer, key }: CountedVouch): SignerKey => ({ fingerprint: key, names: [signer] });

const agrees = ({ pins }: VouchStatement, wanted: Pins): boolean =>
  comparePins(pins, wanted)?.agrees ?? false;
