import type { Duplex } from 'node:stream';
import type { EgressDestination, Refusal } from '../model/build.ts';
import type { BuildSpec } from '../model/spec.ts';
import { answerDns } from './dns-answer.ts';
import { serveDns } from './dns-stream.ts';
import { EgressLease } from './egress-lease.ts';
import type { EgressLimits } from './egress-limits.ts';
import type { EgressPolicy } from './egress-policy.ts';
import type { HostPort } from './host-port.ts';
import { NameBook } from './name-book.ts';
import { readOpening } from './opening.ts';
import { waitWhileThere } from './wait-while-there.ts';

/** One guest's way out. Disposing cuts every connection. */
export type EgressGateway = Disposable & {
  /**
   * Takes one stream of the guest, which begins with one line: `tcp A.B.C.D:PORT`, answered by `ok` once there is a
   * connection, then bytes both ways (a stream that ends before that was refused); or `dns`, then frames (dns-stream.ts).
   */
  accept(stream: Duplex): void;
  /** Opens the way out for a build, under a record of its own. Until then nothing leaves the VM, and nothing is on record. */
  lease(options: {
    readonly network: BuildSpec['network'];
    /** Called at the first contact with each destination. */
    readonly onDestination: (destination: EgressDestination) => void;
  }): void;
  /** Those of the build that has the VM. */
  destinations(): EgressDestination[];
  /** Of the same build. */
  lastRefusal(): Refusal | null;
};

const refuseAll: EgressPolicy = async () => ({ allowed: false, reason: 'network-none', address: null });

/** The guest is hostile: nothing of it may crash us, reach what the policy refuses, or hold more than its share. */
export function createEgressGateway({
  policy,
  limits,
}: {
  policy: EgressPolicy;
  limits: EgressLimits;
}): EgressGateway {
  const book = new NameBook();
  const { sockets, questions } = limits.join();
  const streams = new Set<Duplex>();
  let disposed = false;
  let lease = new EgressLease(refuseAll, () => undefined);

  const names = {
    lookup: (name: string) => lease.lookUp(name, (known) => book.addressOf(known)),
    nameOf: (address: string) => book.nameOf(address),
  };

  async function connect({ host, port }: HostPort, stream: Duplex): Promise<void> {
    const permit = await waitWhileThere(sockets, stream);
    if (!permit) return;
    const name = book.nameOf(host);
    const socket = await lease.connect({ host: name ?? host, port, byName: name !== null }, stream);
    if (socket && !socket.destroyed) socket.once('close', () => permit[Symbol.dispose]());
    else permit[Symbol.dispose]();
  }

  async function serve(stream: Duplex): Promise<void> {
    const opening = await readOpening(stream);
    if (opening === null) stream.destroy();
    else if (opening === 'dns')
      await serveDns(stream, { questions, answer: (message, way) => answerDns(message, way, names) });
    else await connect(opening, stream);
  }

  return {
    accept(stream) {
      stream.on('error', () => stream.destroy());
      if (disposed) {
        stream.destroy();
        return;
      }
      streams.add(stream);
      stream.once('close', () => streams.delete(stream));
      void serve(stream);
    },
    lease({ network, onDestination }) {
      lease.end();
      lease = new EgressLease(network === 'none' ? refuseAll : policy, onDestination);
    },
    destinations: () => lease.record.list(),
    lastRefusal: () => lease.record.lastRefusal,
    [Symbol.dispose]() {
      disposed = true;
      lease.end();
      for (const stream of streams) stream.destroy();
      sockets[Symbol.dispose]();
      questions[Symbol.dispose]();
    },
  };
}
