import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { EgressDestination, FailureReason } from '../model/build.ts';
import { AnnouncedName } from './announced-name.ts';
import type { NameAnswer } from './dns-answer.ts';
import type { EgressPolicy } from './egress-policy.ts';
import { type Contact, EgressRecord } from './egress-record.ts';
import type { HostPort } from './host-port.ts';
import { joinStreams } from './join-streams.ts';
import { dial } from './outbound.ts';

/** What a guest connects to: a host and a port, and whether it looked the host up by its name. */
export type Target = HostPort & { readonly byName: boolean };

/** The way out of one build: one policy for its names and its connections, and one record. */
export class EgressLease {
  readonly record: EgressRecord;
  readonly #policy: EgressPolicy;
  readonly #ended = new AbortController();

  constructor(policy: EgressPolicy, onDestination: (destination: EgressDestination) => void) {
    this.#policy = policy;
    this.record = new EgressRecord(onDestination);
  }

  /** Cuts every connection, also those that are still being made. */
  end(): void {
    this.#ended.abort();
  }

  /** @param standFor Gives the address that stands for a name. Never rejects. */
  async lookUp(name: string, standFor: (name: string) => string): Promise<NameAnswer> {
    const decision = await this.#policy({ host: name, port: null }, this.#ended.signal).catch(() => null);
    if (!decision) return 'not-known-now';
    if (decision.allowed) return decision.addresses.length === 0 ? 'no-address' : { address: standFor(name) };
    const { address, reason } = decision;
    this.record.add({ name, address, port: null, allowed: false, reason });
    return reason === 'name-unresolved' ? 'not-known-now' : 'no-name';
  }

  /** Joins a guest's stream with a connection to where it wants to go; null where there is none. Never rejects. */
  async connect({ host, port, byName }: Target, guest: Duplex): Promise<Socket | null> {
    const { signal } = this.#ended;
    let gone = guest.destroyed;
    guest.once('close', () => {
      gone = true;
    });
    const seen = { name: byName ? host : null, address: byName ? null : host, port };
    try {
      const decision = await this.#policy({ host, port }, signal);
      if (!decision.allowed) {
        const { reason, address } = decision;
        this.record.add({ ...seen, address: address ?? seen.address, allowed: false, reason });
        guest.destroy();
        return null;
      }
      const target = { addresses: decision.addresses, port: decision.port ?? port };
      const { socket, address } = await dial(target, signal);
      const contact = this.record.add({ ...seen, address, allowed: true, reason: null });
      if (gone) socket.destroy();
      else this.#join(guest, socket, contact, byName);
      return socket;
    } catch (error) {
      if (!signal.aborted) this.record.add({ ...seen, allowed: true, reason: failureOf(error) });
      guest.destroy();
      return null;
    }
  }

  #join(guest: Duplex, socket: Socket, contact: Contact, byName: boolean): void {
    const announced = byName ? null : new AnnouncedName();
    guest.write('ok\n');
    joinStreams(guest, socket, {
      received: ({ length }) => {
        contact.bytesIn += length;
      },
      sent: (bytes) => {
        contact.bytesOut += bytes.length;
        contact.announced ??= announced?.see(bytes) ?? null;
      },
    });
  }
}

function failureOf(error: unknown): FailureReason {
  const refused = error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED';
  return refused ? 'connection-refused' : 'unreachable';
}
