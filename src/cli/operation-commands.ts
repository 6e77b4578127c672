import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { terminalText } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import type { Command, CommandArguments, CommandContext } from './command.ts';
import { ServiceClient, urlOf } from './service-client.ts';

const operationSchema = z.object({
  id: z.uuid(),
  state: z.string(),
  started: z.string(),
  request: z.object({ entry: z.string(), version: z.string() }),
  steps: z.array(z.object({ name: z.string(), state: z.string() })),
  verdict: z.object({ code: z.string().nullable(), message: z.string() }).nullable(),
});
const listSchema = z.object({ operations: z.array(operationSchema) });
type Operation = z.infer<typeof operationSchema>;

const retryMs = 1000;
/** How often in a row the service may be asked in vain for what comes next: it may be starting anew. */
const maxRetries = 60;

export const operationCommands: readonly Command[] = [
  {
    name: 'rebuild',
    takes:
      'ENTRY [--version v0.1.0] [--target ctr|vm|dqd]… [--repo REPOSITORY] [--arg NAME=VALUE]… [--no-cache] [--dry-run] [--url URL]',
    summary:
      "Has the service make an entry's images anew, check, publish and serve them; prints the log, and exits by how it ended.",
    options: ['version', 'repo', 'url'],
    lists: ['target', 'arg'],
    flags: ['no-cache', 'dry-run'],
    words: 1,
    async run(given, context) {
      await beginAndFollow(given, context, '/admin/images/rebuild', readRebuild(given));
    },
  },
  {
    name: 'operation list',
    takes: '[--url URL]',
    summary:
      'Lists the operations, newest first: id, when it began, state, entry, version, the step that runs or failed.',
    options: ['url'],
    words: 0,
    async run(given, context) {
      const client = connect(given, context);
      const { operations } = listSchema.parse(await client.call('GET', '/admin/operations', context.signal));
      for (const { id, state, started, request, steps } of operations) {
        const at = steps.find((step) => step.state === 'running' || step.state === 'failed');
        const words = [id, started, state.padEnd(11), request.entry, request.version, at?.name ?? ''];
        context.answer(terminalText(words.join('  ')).trimEnd());
      }
    },
  },
  {
    name: 'operation follow',
    takes: 'ID [--url URL]',
    summary: 'Prints the log of an operation until its end, and exits by how it ended.',
    options: ['url'],
    words: 1,
    run: async (given, context) => follow(connect(given, context), context, idOf(given)),
  },
  {
    name: 'operation resume',
    takes: 'ID [--url URL]',
    summary: 'Begins again what did not succeed; what was made is not made again.',
    options: ['url'],
    words: 1,
    async run(given, context) {
      await beginAndFollow(given, context, `/admin/operations/${idOf(given)}/resume`);
    },
  },
  {
    name: 'operation cancel',
    takes: 'ID [--url URL]',
    summary: 'Cancels an operation, and waits for its end.',
    options: ['url'],
    words: 1,
    async run(given, context) {
      const client = connect(given, context);
      const ended = await client.call('DELETE', `/admin/operations/${idOf(given)}`, context.signal);
      const { id, state } = operationSchema.parse(ended);
      context.say(`kiln: operation ${id} ${terminalText(state)}.`);
    },
  },
];

function connect({ options }: CommandArguments, { config, token }: CommandContext): ServiceClient {
  return new ServiceClient({ url: options['url'] ?? urlOf(config), token });
}

function idOf({ words: [id = ''] }: CommandArguments): string {
  return encodeURIComponent(id);
}

/** As the API takes it, which also says what is wrong with it. */
function readRebuild({ words: [entry], options, lists, flags }: CommandArguments): object {
  const { version, repo } = options;
  const targets = lists['target']?.flatMap((names) => names.split(','));
  return {
    ...{ entry, version, repo, targets },
    args: Object.fromEntries((lists['arg'] ?? []).map(readArgument)),
    noCache: flags.has('no-cache'),
    dryRun: flags.has('dry-run'),
  };
}

function readArgument(text: string): [name: string, value: string] {
  const [name = '', ...value] = text.split('=');
  if (name === '' || value.length === 0)
    throw new KilnError('PARAM_INVALID', `--arg ${terminalText(text)} must be NAME=VALUE.`);
  return [name, value.join('=')];
}

async function beginAndFollow(
  given: CommandArguments,
  context: CommandContext,
  path: string,
  body?: object,
): Promise<void> {
  const client = connect(given, context);
  const { id, request } = operationSchema.parse(await client.call('POST', path, context.signal, body));
  context.say(`kiln: operation ${id}: ${terminalText(`${request.entry} ${request.version}`)}`);
  await follow(client, context, id);
}

/**
 * Prints the log until the operation ends, also over connections that break.
 * @throws KilnError of its verdict; CANCELLED where nobody wants to follow it any more: it goes on
 */
async function follow(client: ServiceClient, context: CommandContext, id: string): Promise<void> {
  try {
    const { state, verdict } = await followToEnd(client, context, id);
    if (state === 'succeeded') context.say(`kiln: operation ${id} succeeded.`);
    else
      throw new KilnError(
        'REQUEST_INVALID',
        `operation ${id} ${terminalText(`${state}: ${verdict?.message}`)}\nnpm run kiln -- operation resume ${id} begins again what did not succeed.`,
      );
  } catch (error) {
    if (!context.signal.aborted) throw error;
    throw new KilnError(
      'CANCELLED',
      `operation ${id} goes on. npm run kiln -- operation follow ${id} shows it again, npm run kiln -- operation cancel ${id} ends it.`,
    );
  }
}

async function followToEnd(client: ServiceClient, context: CommandContext, id: string): Promise<Operation> {
  const { signal } = context;
  const text = new TextDecoder();
  let offset = 0;
  for (let failures = 0; ; failures += 1) {
    try {
      const query = `offset=${offset}&follow=true`;
      for await (const bytes of await client.stream(`/admin/operations/${id}/log?${query}`, signal)) {
        offset += bytes.length;
        failures = 0;
        context.print(terminalText(text.decode(bytes, { stream: true })));
      }
      const operation = operationSchema.parse(await client.call('GET', `/admin/operations/${id}`, signal));
      if (operation.state !== 'running') return operation;
    } catch (error) {
      signal.throwIfAborted();
      // What the service refuses it refuses again; a connection may come back.
      const refused =
        error instanceof KilnError && error.code !== 'REQUIREMENT_MISSING' && error.code !== 'DRAINING';
      if (refused || failures >= maxRetries) throw error;
    }
    await sleep(retryMs, undefined, { signal });
  }
}
