import { Metadata } from '@grpc/grpc-js';
import { type RequestOrigin, readOrigin } from '../model/request-origin.ts';

type NamedCall = { readonly metadata: Metadata; sendMetadata(metadata: Metadata): void };

/** Of calls and of their answers. */
export const requestIdKey = 'x-request-id';

/** What the metadata of a call says of it. */
export function originOf(metadata: Metadata): ReturnType<typeof readOrigin> {
  const [requestId] = metadata.get(requestIdKey);
  const [traceparent] = metadata.get('traceparent');
  return readOrigin(requestId, traceparent);
}

/** What a call says of itself; its id, or the one that it is given, is sent back at once. */
export function nameCall(call: NamedCall): RequestOrigin {
  const origin = originOf(call.metadata);
  const answer = new Metadata();
  answer.set(requestIdKey, origin.requestId);
  call.sendMetadata(answer);
  return origin;
}
