import type { Server } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import type { Builds } from '../model/builds.ts';

const pollMs = 500;

/** grpc.health.v1.Health: SERVING while a build can run now. Disposing it ends the polling. */
export function serveHealth(server: Server, builds: Builds, services: readonly string[]): Disposable {
  const health = new HealthImplementation();
  let told: boolean | undefined;
  const update = (): void => {
    const { ready } = builds.readiness();
    if (ready === told) return;
    told = ready;
    // The empty name is the server as a whole.
    for (const service of ['', ...services]) health.setStatus(service, ready ? 'SERVING' : 'NOT_SERVING');
  };
  update();
  health.addToServer(server);
  const timer = setInterval(update, pollMs).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
