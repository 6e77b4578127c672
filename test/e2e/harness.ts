import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parseConfig } from '../../src/config/config.ts';
import type { WarmVm } from '../../src/guest/warm-vm.ts';
import { writeOciLayout } from '../../src/images/oci-layout.ts';
import { runTool } from '../../src/lib/process/run-tool.ts';
import type { Lease, PoolStatus } from '../../src/pool/pool.ts';
import { type Service, startService } from '../../src/service.ts';
import { type DockerRegistry, startDockerRegistry } from '../docker-registry.ts';
import { installTools } from '../install-tools.ts';
import { startWithPasswords, type TestAccount } from '../registry-accounts.ts';
import { type TestIdentity, writeIdentity } from '../tls-identity.ts';

const run = promisify(execFile);
const never = new AbortController().signal;

/** Where the tests keep their template from one file, and one run, to the next. */
export const testData = '/var/cache/kiln/test-data';

const path = process.env['PATH'] ?? '';

export type TestService = Service &
  AsyncDisposable & {
    /** The VMs of the service's own entry. */
    readonly pool: { acquire(signal: AbortSignal): Promise<Lease<WarmVm>>; readonly status: PoolStatus };
  };

/** A whole service on ports of its own, with real VMs; `mirror` stands in for Docker Hub, `locked` for the registry locked.test. */
export async function startTestService(
  options: { mirror?: string; locked?: string; env?: Record<string, string> } = {},
): Promise<TestService> {
  const nobody = 'http://127.0.0.1:9';
  const { mirror = nobody, locked = nobody } = options;
  // Of a test that was interrupted: nobody here has a token.
  await rm(join(testData, 'tokens'), { recursive: true, force: true });
  const env = {
    KILN_DATA_DIR: testData,
    KILN_LISTEN: '127.0.0.1:0',
    KILN_GRPC_LISTEN: '127.0.0.1:0',
    // The same names in every test, so that one template serves them all.
    KILN_REGISTRY_MIRRORS: `docker.io=${mirror},down.test=${nobody},locked.test=${locked}`,
    KILN_CA_CERTS: (await trustedIdentity()).certPath,
    ...options.env,
  };
  const logger = { info: () => undefined, warn: console.log, error: console.log };
  const service = await startService({
    config: parseConfig(env, true),
    path,
    logger,
    progress: (line) => console.log(line),
    signal: never,
  });
  const { scheduler, entry } = service;
  return {
    ...service,
    pool: {
      acquire: (signal) => scheduler.enter({ entry, tenant: 'default', signal, onPlace: () => undefined }),
      get status() {
        return scheduler.status.get(entry) ?? assert.fail('it is kept');
      },
    },
    [Symbol.asyncDispose]: () => service.close(AbortSignal.abort()),
  };
}

/** Of this machine's services, as builds name them. Made once, so that one template serves all tests. */
export async function trustedIdentity(): Promise<Omit<TestIdentity, keyof AsyncDisposable>> {
  const directory = join(testData, 'trusted');
  await mkdir(directory, { recursive: true });
  return writeIdentity(directory, { names: ['DNS:host.kiln.internal'], days: 3650 });
}

/** One registry and one service for all tests of a file; after them nothing of theirs may be left. */
export async function startForFile(
  env: Record<string, string> = {},
  others: { locked?: string } = {},
): Promise<{ service: TestService; registry: { url: string } }> {
  const registry = await startRegistry();
  const service = await startTestService({ mirror: registry.url, ...others, env });
  after(async () => {
    await service[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
    assert.deepEqual(await readdir(join(testData, 'vms')), [], 'folders of VMs are left');
    assert.deepEqual(await readdir(join(testData, 'staging')), [], 'staged contexts are left');
  });
  await waitUntilReady(service);
  return { service, registry };
}

export async function waitUntilReady({ httpUrl }: { httpUrl: string }): Promise<void> {
  await waitFor(
    async () => (await fetch(`${httpUrl}/readyz`)).status === 200,
    'the service is ready',
    900_000,
  );
}

export async function waitFor(
  condition: () => Promise<boolean>,
  what: string,
  limitMs = 240_000,
): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`Not within ${limitMs} ms: ${what}`);
    await sleep(50);
  }
}

/** A context as a tar.gz in a temporary folder. */
export async function createContext(
  files: Readonly<Record<string, string>>,
): Promise<AsyncDisposable & { archive: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-context-'));
  const archive = join(directory, 'ctx.tgz');
  const root = join(directory, 'root');
  await mkdir(root);
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), text);
  }
  await run('tar', ['-czf', archive, '-C', root, '.']);
  return { archive, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
}

export type Answer = { readonly exit: number; readonly body: string; readonly headers: string };

/** Real curl, as a user calls it. Trailers count as headers. */
export async function curl(...args: readonly string[]): Promise<Answer> {
  // A file, as curl cannot open the socket that a child's standard error is.
  const dump = join(tmpdir(), `kiln-headers-${randomUUID()}`);
  const child = spawn('curl', ['-sS', '-N', '-D', dump, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let body = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    body += text;
  });
  const [exit] = await once(child, 'close');
  const headers = await readFile(dump, 'utf8');
  await rm(dump);
  return { exit, body, headers };
}

export async function build(
  service: Service,
  files: Readonly<Record<string, string>>,
  ...fields: readonly string[]
): Promise<Answer & { id: string }> {
  await using context = await createContext(files);
  const form = [`context=@${context.archive}`, ...fields].flatMap((field) => ['-F', field]);
  const answer = await curl(...form, `${service.httpUrl}/build`);
  return { ...answer, id: /x-build-id: (\S+)/i.exec(answer.headers)?.[1] ?? '' };
}

/**
 * A real registry on loopback with one image: busybox, made of Debian's static build.
 * @param account that it asks for; none by default
 */
export async function startRegistry(account?: TestAccount): Promise<DockerRegistry> {
  await installTools([
    { find: 'skopeo', package: 'skopeo' },
    { find: 'busybox', package: 'busybox-static' },
    { find: 'gcc', package: 'gcc' },
    { find: '/usr/include/stdio.h', package: 'libc6-dev' },
  ]);
  const registry = await (account ? startWithPasswords(account) : startDockerRegistry());
  const layout = await createBusyboxLayout(registry.directory);
  const copy = ['copy', '--insecure-policy', '--dest-tls-verify=false', `oci:${layout}`];
  const login = account ? [`--dest-creds=${account.user}:${account.password}`] : [];
  await run('skopeo', [...copy, ...login, `docker://${registry.host}/library/busybox:latest`]);
  return registry;
}

async function createBusyboxLayout(directory: string): Promise<string> {
  const root = join(directory, 'root');
  await mkdir(join(root, 'bin'), { recursive: true });
  await mkdir(join(root, 'tmp'));
  const busybox = (await runTool('which', ['busybox'], never)).trim();
  await copyFile(busybox, join(root, 'bin/busybox'));
  const commands =
    'sh echo cat head tail dd yes seq ls od hexdump env sleep true false touch mkdir grep tr wc nc httpd wget nslookup fallocate';
  for (const command of commands.split(' ')) await symlink('busybox', join(root, 'bin', command));
  for (const program of ['probe', 'many', 'fetch']) {
    const source = fileURLToPath(new URL(`fixtures/${program}.c`, import.meta.url));
    await run('gcc', ['-static', '-O1', '-o', join(root, 'bin', program), source]);
  }
  const tar = join(directory, 'layer.tar');
  await run('tar', ['-cf', tar, '--owner=0', '--group=0', '-C', root, '.']);
  const layout = join(directory, 'layout');
  await mkdir(layout);
  await writeOciLayout({ tar, directory: layout }, never);
  return layout;
}
