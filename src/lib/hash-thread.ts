import { createHash } from 'node:crypto';
import { type MessagePort, parentPort } from 'node:worker_threads';

/** What the thread of `ThreadHash` runs. Each port is one hash: bytes are answered once they are in it, null with the digest. */
parentPort?.on('message', (port: MessagePort) => {
  const hash = createHash('sha256');
  port.on('message', (bytes: Uint8Array | null) => {
    if (bytes) hash.update(bytes);
    port.postMessage(bytes ? '' : hash.digest('hex'));
  });
});
