import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Container, ContainerInfo } from 'dockerode';
import { z } from 'zod';
import { splitLines } from '../../lib/lines.ts';
import type { Logger } from '../../lib/logger.ts';
import { type ContainerRequest, containerOptions, installationLabel } from './container-options.ts';
import { describeEnd } from './describe-end.ts';
import { type DockerEngine, isConflict, isNotFound } from './engine.ts';

/** A container of ours that was created. */
export type OwnContainer = {
  readonly container: Container;
  /** Resolves once the engine says that it ended, or has no such container any more. Stays open otherwise. */
  readonly ended: Promise<void>;
  /** What follows its name in a sentence. Never rejects, and takes seconds at most. */
  describeEnd(): Promise<string>;
  /** Ends and removes it. Never rejects. @returns whether it is gone; if not, it goes once the engine answers again. */
  remove(): Promise<boolean>;
};

const reconnectMs = 1000;
const compareMs = 15_000;
const removals = { attempts: 3, pauseMs: 300 };
const eventSchema = z.object({ Actor: z.object({ Attributes: z.object({ name: z.string() }) }) });
/** One event; it has the labels of an image in it. */
const maxEventBytes = 1024 * 1024;

/**
 * The containers of one installation on one engine, known by their label alone: names and images may be anybody's.
 *
 * INVARIANTS:
 * - A container is known, by its name, before it is created and until it was asked to go. Whatever else has our label is removed.
 * - Who waits for the end of one hears of it also where its end was missed: known ones are compared with the engine's at each
 *   connection and every quarter of a minute.
 */
export class Containers implements AsyncDisposable {
  readonly engine: DockerEngine;
  readonly installation: string;
  readonly #logger: Logger;
  readonly #known = new Map<string, { created: boolean; end: () => void }>();
  readonly #closing = new AbortController();
  #following: Promise<unknown> = Promise.resolve();

  constructor(engine: DockerEngine, options: { installation: string; logger: Logger }) {
    this.engine = engine;
    this.installation = options.installation;
    this.#logger = options.logger;
  }

  /** Removes what an earlier run of this installation left behind, and follows what becomes of those to come. @returns how many. */
  async open(signal: AbortSignal): Promise<number> {
    const left = await this.#list(signal);
    for (const { Id } of left) await this.#remove(Id);
    this.#following = Promise.all([this.#follow(), this.#compareNowAndThen()]);
    return left.length;
  }

  async create(request: Omit<ContainerRequest, 'installation'>, signal: AbortSignal): Promise<OwnContainer> {
    const { name } = request;
    const ended = Promise.withResolvers<void>();
    const known = { created: false, end: ended.resolve };
    this.#known.set(name, known);
    const remove = async (): Promise<boolean> => {
      const gone = await this.#remove(name);
      this.#known.delete(name);
      known.end();
      return gone;
    };
    try {
      const options = containerOptions({ ...request, installation: this.installation });
      const container = await this.engine.askPatiently('create a container', signal, (docker, abortSignal) =>
        docker.createContainer({ ...options, abortSignal }),
      );
      known.created = true;
      const { engine } = this;
      const { memoryMiB } = request.limits;
      return {
        container,
        ended: ended.promise,
        describeEnd: () => describeEnd({ engine, container, memoryMiB }, this.#closing.signal),
        remove,
      };
    } catch (error) {
      // It may be there although nobody said so.
      await remove();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // What could not be removed when it ended, as the engine did not answer then.
    await this.#compare().catch(() => undefined);
    this.#closing.abort();
    await this.#following;
  }

  #list(signal: AbortSignal): Promise<ContainerInfo[]> {
    const filters = { label: [`${installationLabel}=${this.installation}`] };
    return this.engine.ask('list its containers', signal, (docker, abortSignal) =>
      docker.listContainers({ all: true, filters, abortSignal }),
    );
  }

  /** Never rejects. */
  async #remove(idOrName: string): Promise<boolean> {
    const { signal } = new AbortController();
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.engine.ask('remove a container', signal, (docker, abortSignal) =>
          docker.getContainer(idOrName).remove({ force: true, v: true, abortSignal }),
        );
        return true;
      } catch (error) {
        if (isNotFound(error)) return true;
        // Somebody else removes it already: it is gone when it is not found.
        if (!isConflict(error) || attempt === removals.attempts) {
          this.#logger.warn({ container: idOrName, error }, 'a container could not be removed yet');
          return false;
        }
        await sleep(removals.pauseMs);
      }
    }
  }

  /** Never rejects. */
  async #compareNowAndThen(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await sleep(compareMs, undefined, { signal }).catch(() => undefined);
      await this.#compare().catch(() => undefined);
    }
  }

  async #compare(): Promise<void> {
    // Before the list: what is created meanwhile may be missing in it.
    const expected = [...this.#known].filter(([, { created }]) => created);
    const found = await this.#list(this.#closing.signal);
    const running = new Set<string>();
    for (const { Id, Names, State } of found) {
      const name = Names[0]?.slice(1) ?? '';
      if (!this.#known.has(name)) await this.#remove(Id);
      else if (State !== 'exited' && State !== 'dead') running.add(name);
    }
    for (const [name, { end }] of expected) if (!running.has(name)) end();
  }

  /** Never rejects. An engine that is restarted is followed again. */
  async #follow(): Promise<void> {
    const { signal } = this.#closing;
    for (let told = false; !signal.aborted; ) {
      try {
        const events = await this.#openEvents();
        told = false;
        await this.#compare();
        for await (const line of splitLines(events, maxEventBytes)) this.#receive(line.toString('utf8'));
      } catch (error) {
        // Once, not at each try.
        if (!signal.aborted && !told)
          this.#logger.warn({ error }, 'the Docker engine does not tell its events; kiln goes on asking');
        told = true;
      }
      await sleep(reconnectMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async #openEvents(): Promise<Readable> {
    const { signal } = this.#closing;
    const label = [`${installationLabel}=${this.installation}`];
    const filters = { type: ['container' as const], event: ['die', 'destroy'], label };
    // Its deadline is for the answer: the events themselves have no end.
    const opened = await this.engine.ask('tell its events', signal, (docker) =>
      docker.getEvents({ filters, abortSignal: signal }),
    );
    return opened as Readable;
  }

  #receive(line: string): void {
    const event = eventSchema.safeParse(JSON.parse(line));
    if (event.success) this.#known.get(event.data.Actor.Attributes.name)?.end();
  }
}
