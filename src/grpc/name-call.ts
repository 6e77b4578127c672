import { Metadata } from '@grpc/grpc-js';
import { type RequestOrigin, readOrigin } from '../model/request-origin.ts';

type NamedCall = { readonly metadata: Metadata; sendMetadata(metadata: Metadata): void };

/** What a call says of itself; its id, or the one that it is given, is sent back at once. */
export function nameCall(call: NamedCall): RequestOrigin {
  const [requestId] = call.metadata.get('x-request-id');
  const [traceparent] = call.metadata.get('traceparent');
  const origin = readOrigin(requestId, traceparent);
  const answer = new Metadata();
  answer.set('x-request-id', origin.requestId);
  call.sendMetadata(answer);
  return origin;
}
