import type { Request } from '../../../protocol/control/request.ts';
import type { Channel } from '../channel/channel.ts';
import type { Requester } from './policy.ts';

/** A request that policy permits. */
export interface PermittedRequest {
  readonly request: Request;
  readonly channel: Channel;
  readonly requester: Requester;
  /** When this signer first saw the request. */
  readonly seen: Date;
}
