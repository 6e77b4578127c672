import { type Metadata, ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js';
import type { Logger } from '../lib/logger.ts';
import type { Authenticate, Caller } from '../model/caller.ts';
import { KilnError } from '../model/error.ts';
import { logFailure } from '../model/log-failure.ts';
import { toServiceError } from './error-table.ts';
import { originOf, requestIdKey } from './name-call.ts';

/** Services that tell of the service and of no build; whoever watches over it has no token. */
const open = /^\/grpc\.(health|reflection)\./;

/** Finds out who makes a call before any of its messages is taken. */
export type CallerGuard = {
  readonly interceptor: ServerInterceptor;
  /** Who makes the call of this metadata. @throws Error for one that was not let in */
  callerOf(call: { readonly metadata: Metadata }): Caller;
};

export function createCallerGuard(authenticate: Authenticate, logger: Logger): CallerGuard {
  const callers = new WeakMap<Metadata, Caller>();
  return {
    interceptor: ({ path }, call) =>
      new ServerInterceptingCall(call, {
        start(next) {
          if (open.test(path)) return next();
          const refuse = (asked: Metadata, thrown: unknown): void => {
            const error = KilnError.from(thrown);
            const { requestId } = originOf(asked);
            logFailure(logger, { method: path, requestId }, error);
            const { code, message, metadata } = toServiceError(error);
            metadata.set(requestIdKey, requestId);
            call.sendStatus({ code, details: message, metadata });
          };
          next({
            onReceiveMetadata(metadata, letIn) {
              const [authorization] = metadata.get('authorization');
              const credentials = {
                authorization: authorization?.toString(),
                // What follows the last colon is the port.
                address: call.getPeer().replace(/:\d+$/, ''),
              };
              authenticate(credentials).then(
                (caller) => {
                  callers.set(metadata, caller);
                  letIn(metadata);
                },
                (error: unknown) => refuse(metadata, error),
              );
            },
          });
        },
      }),
    callerOf({ metadata }) {
      const caller = callers.get(metadata);
      if (!caller) throw new Error('A call came past the guard.');
      return caller;
    },
  };
}
