import { z } from 'zod';
import { type Config, splitAddress } from '../config/config.ts';
import { terminalText } from '../lib/text.ts';
import { type ErrorCode, errorKinds, KilnError } from '../model/error.ts';

const problemSchema = z.object({ code: z.string(), detail: z.string() });

/** The HTTP API of a running service, as commands call it. Every method throws the KilnError that the service answers with. */
export class ServiceClient {
  readonly url: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor({ url, token }: { url: string; token: string | null }) {
    this.url = url.replace(/\/+$/, '');
    this.#headers = token === null ? {} : { Authorization: `Bearer ${token}` };
  }

  /** What it answers is JSON. */
  async call(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    signal: AbortSignal,
    body?: object,
  ): Promise<unknown> {
    const headers = {
      // An operation goes on by itself; whoever began it follows it.
      ...(method === 'POST' && { Prefer: 'respond-async' }),
      ...(body && { 'Content-Type': 'application/json' }),
    };
    const init = { method, headers, signal, ...(body && { body: JSON.stringify(body) }) };
    const response = await this.#ask(path, init);
    return response.json();
  }

  /** Bytes as they come. @throws whatever the connection ends by */
  async stream(path: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const { body } = await this.#ask(path, { signal });
    return body ?? (async function* () {})();
  }

  async #ask(
    path: string,
    init: Omit<RequestInit, 'headers'> & { readonly headers?: Record<string, string> },
  ): Promise<Response> {
    const headers = { ...this.#headers, ...init.headers };
    const response = await fetch(`${this.url}${path}`, { ...init, headers }).catch((cause: unknown) => {
      init.signal?.throwIfAborted();
      throw new KilnError(
        'REQUIREMENT_MISSING',
        `${this.url} does not answer; does kiln run there? --url names another.`,
        { cause },
      );
    });
    if (!response.ok) throw await readProblem(response);
    return response;
  }
}

/** Where a service with these settings answers whoever is on its machine. */
export function urlOf(config: Pick<Config, 'KILN_LISTEN' | 'KILN_HOSTS' | 'KILN_TLS_CERT'>): string {
  const { host, port } = splitAddress(config.KILN_LISTEN);
  const all = host === '0.0.0.0' || host === '::';
  // A certificate is for a name.
  const [name] = config.KILN_TLS_CERT === undefined ? [] : config.KILN_HOSTS;
  const scheme = config.KILN_TLS_CERT === undefined ? 'http' : 'https';
  const target = name ?? (all ? '127.0.0.1' : host);
  return `${scheme}://${target.includes(':') ? `[${target}]` : target}:${port}`;
}

async function readProblem(response: Response): Promise<KilnError> {
  const parsed = problemSchema.safeParse(await response.json().catch(() => null));
  if (!parsed.success)
    return new KilnError(
      'REQUEST_INVALID',
      `${response.url} answers ${response.status}, which is no answer of kiln's.`,
    );
  const { code, detail } = parsed.data;
  return new KilnError(code in errorKinds ? (code as ErrorCode) : 'REQUEST_INVALID', terminalText(detail));
}
