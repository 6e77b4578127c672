import { parentPort, workerData } from 'node:worker_threads';
import { decodeBzip2 } from './bzip2.ts';
import { RefusedData, type ThreadData } from './thread-messages.ts';
import { ThreadPort } from './thread-port.ts';
import { decodeXz } from './xz.ts';

/** What the thread of `decodeInThread` runs. */
if (parentPort) {
  const { name, answers, ...limits } = workerData as ThreadData;
  const port = new ThreadPort(parentPort, answers);
  try {
    if (name === 'xz') await decodeXz(port, limits);
    else decodeBzip2(port, limits.maxStreams);
    port.end();
  } catch (error) {
    if (!(error instanceof RefusedData)) throw error;
    port.refuse(error.reason, error.message);
  }
}
