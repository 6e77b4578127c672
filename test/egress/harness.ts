import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { EgressLimits } from '../../src/egress/egress-limits.ts';
import { createEgressPolicy, type EgressPolicyOptions } from '../../src/egress/egress-policy.ts';
import { createEgressGateway, type EgressGateway } from '../../src/egress/gateway.ts';
import { parseEgressRules } from '../../src/egress/settings.ts';
import type { EgressDestination } from '../../src/model/build.ts';
import type { BuildSpec } from '../../src/model/spec.ts';
import { type Listening, listen } from '../listen.ts';
import { GuestDns } from './guest-dns.ts';

/** A web server on loopback: what guests are after. */
export function serveHttp(listener: RequestListener): Promise<Listening> {
  return listen(createHttpServer(listener));
}

/** A server on loopback that speaks no HTTP, or a bad one. */
export function serve(listener: (socket: Socket) => void): Promise<Listening> {
  return listen(createServer({ allowHalfOpen: true }, listener));
}

export function rulesOf(given: { allow?: string[]; deny?: string[]; only?: string[] } = {}) {
  return parseEgressRules({ allow: [], deny: [], only: [], ...given });
}

export type TestGateway = AsyncDisposable & {
  readonly gateway: EgressGateway;
  /** Destinations in the order they were told. */
  readonly told: EgressDestination[];
  /** A stream of the guest: the guest's end of a real TCP connection, whose other end the gateway has. */
  connect(): Promise<Socket>;
  /** Opens a stream to an address; resolves with it once it is there, or with null when it was refused. */
  open(target: string): Promise<Socket | null>;
};

export type TestOptions = Partial<EgressPolicyOptions> & {
  readonly network?: BuildSpec['network'];
  readonly limits?: EgressLimits;
};

/** The limits of one guest that has a large machine for itself. */
export function roomForAll(): EgressLimits {
  return new EgressLimits({ openFiles: 1_000_000, memoryBytes: 2 ** 35, guests: 1 });
}

/** A gateway that is leased to a build; by default all names are this machine, and nothing is open. */
export async function createTestGateway(options: TestOptions = {}): Promise<TestGateway> {
  const told: EgressDestination[] = [];
  const resolve = async (): Promise<string[]> => ['127.0.0.1'];
  const policy = createEgressPolicy({
    ...{ ...rulesOf(), mirrors: [], resolve: { set: resolve, chosen: resolve } },
    ...options,
  });
  const gateway = createEgressGateway({ policy, limits: options.limits ?? roomForAll() });
  gateway.lease({
    network: options.network ?? 'default',
    onDestination: (destination) => told.push(destination),
  });
  const server = createServer({ allowHalfOpen: true }, (socket) => gateway.accept(socket));
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 });
  await once(server, 'listening');
  const guests = new Set<Socket>();
  const connectGuest = async (): Promise<Socket> => {
    const { port } = server.address() as AddressInfo;
    const guest = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    guest.on('error', () => undefined);
    guests.add(guest);
    await once(guest, 'connect');
    return guest;
  };
  return {
    ...{ gateway, told, connect: connectGuest },
    open: async (target) => openStream(await connectGuest(), target),
    async [Symbol.asyncDispose]() {
      gateway[Symbol.dispose]();
      for (const guest of guests) guest.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Says where a stream is to go; resolves with it once it is there, or with null when it was refused. */
export async function openStream<Stream extends Duplex>(
  stream: Stream,
  target: string,
): Promise<Stream | null> {
  stream.write(`tcp ${target}\n`);
  const answer = await readSome(stream, 3);
  return answer === 'ok\n' ? stream : null;
}

/** The next `bytes` bytes, or fewer where the stream ends before; what follows stays unread. */
export async function readSome(stream: Duplex, bytes: number): Promise<string> {
  let seen = '';
  while (seen.length < bytes) {
    const chunk: Buffer | null = stream.read(bytes - seen.length) ?? stream.read();
    if (chunk) seen += chunk.toString('latin1');
    else if (stream.readableEnded || stream.destroyed || !(await becomesReadable(stream))) break;
  }
  if (seen.length > bytes) {
    stream.unshift(Buffer.from(seen.slice(bytes), 'latin1'));
    return seen.slice(0, bytes);
  }
  return seen;
}

/** Whether there may be more to read; false once the stream has ended. */
function becomesReadable(stream: Duplex): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (more: boolean) => () => {
      stream.off('readable', readable).off('end', ended).off('close', ended);
      resolve(more);
    };
    const [readable, ended] = [settle(true), settle(false)];
    stream.once('readable', readable).once('end', ended).once('close', ended);
  });
}

/** What is asserted of a destination, in few words. */
export function brief({ name, address, port, allowed, reason, connections }: EgressDestination) {
  return [name, address, port, allowed, reason, connections];
}

export async function lookUp(gateway: TestGateway, name: string): Promise<string> {
  return new GuestDns(await gateway.connect()).addressOf(name);
}

/** A resolver for tests that set one: the answers in turn, the last one for good. */
export function inTurn(...answers: (readonly string[] | null)[]) {
  const chosen = async (): Promise<readonly string[] | null> =>
    (answers.length > 1 ? answers.shift() : answers[0]) ?? null;
  return { set: chosen, chosen };
}
