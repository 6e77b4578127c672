import { ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js';
import { KilnError } from '../model/error.ts';
import { toServiceError } from './error-table.ts';

const ownNames = ['localhost', '127.0.0.1', '[::1]'];

/**
 * Refuses calls whose `:authority` is none of the service's own names, so that a web page whose name was
 * pointed at this address after it was loaded (DNS rebinding) reaches nothing.
 * @param hosts Further names of the service, without a port.
 */
export function createHostGuard(hosts: readonly string[]): ServerInterceptor {
  const allowed = new Set([...ownNames, ...hosts.map((host) => host.toLowerCase())]);
  return (_method, call) =>
    new ServerInterceptingCall(call, {
      start(next) {
        const host = call.getHost().replace(/:\d*$/, '').toLowerCase();
        if (allowed.has(host)) return next();
        const { code, message, metadata } = toServiceError(hostNotAllowed());
        next({
          onReceiveMetadata: () => call.sendStatus({ code, details: message, metadata }),
        });
      },
    });
}

function hostNotAllowed(): KilnError {
  return new KilnError(
    'HOST_NOT_ALLOWED',
    'This host name is not one of the service; use localhost or its address, or add the name to KILN_HOSTS.',
  );
}
