import type { Receipt } from '../../../protocol/control/receipt-schema.ts';
import type { RequestedFile } from '../../../protocol/control/zipname.ts';
import type { Notice, ProvenAuthor } from '../model.ts';

/** One thing that happened to a request. Texts from outside are in it as they are: show them through `printable`. */
export interface StoryEvent {
  readonly at: Date;
  /** `requested`, `vouch`, `hold`, `lifted`, `cancel`, `seen`, `fetched`, `signed`, `delivered`, `answered`, `retry`. */
  readonly what: string;
  readonly text: string;
  /** The commit, if it was one. */
  readonly commit?: string;
  /** Whether a commit's signature proves who did it; absent for what only the receipt states. */
  readonly proven?: boolean;
}

/** Everything that a control repository tells about one request. */
export interface RequestStory {
  readonly request: string;
  readonly subject: string;
  readonly author: string;
  readonly askedBy: ProvenAuthor | null;
  /** Why the requester is not proved; null if it is. */
  readonly unproved: Notice | null;
  readonly channel: string;
  readonly sourceRevision: string | null;
  readonly retryOf: string | null;
  readonly files: readonly RequestedFile[];
  /** In the order of their times. */
  readonly events: readonly StoryEvent[];
  /** Null if there is no answer. `proven`: a key that is trusted for receipts signed it. */
  readonly answer: { readonly id: string; readonly proven: boolean; readonly receipt: Receipt } | null;
  /** What it waits for; null if it is answered. */
  readonly waitsFor: Notice | null;
  /** The requests on the branch that say that they repeat this one. */
  readonly retries: readonly string[];
}
