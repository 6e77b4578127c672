import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { pack } from 'tar-stream';
import { SealedFiles } from '../../src/lib/sealed-files.ts';
import { connectDocker } from '../../src/vm/docker/engine.ts';
import { requireVmImage } from '../../src/vm/docker/require-vm-image.ts';
import { noImage } from '../images/no-image.ts';
import { listen } from '../listen.ts';

const { signal } = new AbortController();
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const names = ['kernel', 'initrd', 'disk.qcow2'];

/** An engine that hands out this folder of any container; what it was asked is noted. */
async function startEngine(files: Readonly<Record<string, string>>) {
  const archive = pack();
  archive.entry({ name: 'vm/', type: 'directory' });
  for (const [name, text] of Object.entries(files)) archive.entry({ name: `vm/${name}` }, text);
  archive.finalize();
  const bytes = await buffer(archive);
  const asked: string[] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = (await buffer(request)).toString();
    asked.push(`${request.method} ${request.url} ${body}`.trim());
    if (request.method === 'POST') response.writeHead(201).end('{"Id":"c1"}');
    else if (request.method === 'DELETE') response.writeHead(204).end();
    else response.writeHead(200, { 'Content-Type': 'application/x-tar' }).end(bytes);
  };
  const server = createServer((request, response) => void answer(request, response));
  const listening = await listen(server);
  const host = `tcp://127.0.0.1:${listening.port}`;
  const engine = await connectDocker({ host, certificates: null });
  return { asked, engine, [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose]() };
}

const image = {
  ...noImage('buildkit-v0.20.2'),
  sealed: new SealedFiles(Object.fromEntries(names.map((name) => [`/cache/${name}`, sha256(name)])), {
    record: null,
  }),
};

async function check(files: Readonly<Record<string, string>>): Promise<string[]> {
  await using parts = await startEngine(files);
  const containers = { engine: parts.engine, installation: 'abc' };
  try {
    await requireVmImage(containers, { id: 'sha256:1', reference: 'r/a:1', folder: '/vm', image }, signal);
  } finally {
    assert.match(parts.asked.at(-1) ?? '', /^DELETE \/containers\/c1\?/);
  }
  return parts.asked;
}

test('a dqd image that holds the VM image of this host is taken, read from a container that never starts (simulated engine)', async () => {
  const asked = await check({
    ...Object.fromEntries(names.map((name) => [name, name])),
    'versions.json': '{}',
  });
  assert.deepEqual(
    asked.map((line) => line.replace(/\?\S*/, '')),
    [
      'POST /containers/create {"Image":"sha256:1","Labels":{"kiln.installation":"abc"}}',
      'GET /containers/c1/archive',
      'DELETE /containers/c1',
    ],
  );
});

for (const [title, files, message] of [
  [
    'holds another disk',
    { kernel: 'kernel', initrd: 'initrd', 'disk.qcow2': 'another' },
    /^KILN_DQD_IMAGES: r\/a:1 holds another VM image than this host has of buildkit-v0\.20\.2: its \/vm\/disk\.qcow2 is another than that\. /,
  ],
  ['holds no kernel', { initrd: 'initrd', 'disk.qcow2': 'disk.qcow2' }, /its \/vm\/kernel is none\. /],
] as const) {
  test(`one that ${title} is refused by name (simulated engine)`, async () => {
    await assert.rejects(check(files), { code: 'CONFIG_INVALID', message });
  });
}
