import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { z } from 'zod';
import { KilnError } from '../model/error.ts';

const rootCacheDirectory = '/var/cache/kiln';
const gibibyte = 1024 ** 3;

const whole = (smallest: number, largest: number) =>
  z
    .string()
    .regex(/^\d+$/, 'must be a whole number')
    .transform(Number)
    .pipe(
      z.number().min(smallest, `must be at least ${smallest}`).max(largest, `must be at most ${largest}`),
    );
const count = (smallest: number, fallback: number) =>
  whole(smallest, Number.MAX_SAFE_INTEGER).default(fallback);
/** Node's timers fire at once when they are set for longer. */
const maxSeconds = 2_147_483;
const seconds = (smallest: number, fallback: number) => whole(smallest, maxSeconds).default(fallback);
/** Words separated by commas. */
const list = (fallback = '') =>
  z
    .string()
    .default(fallback)
    .transform((text) =>
      text
        .split(',')
        .map((item) => item.trim())
        .filter((item) => item !== ''),
    );
const flag = (fallback: 'true' | 'false') =>
  z
    .enum(['true', 'false'])
    .default(fallback)
    .transform((text) => text === 'true');
const path = () =>
  z
    .string()
    .refine(isAbsolute, { error: ({ input }) => `'${String(input)}' is not an absolute path` })
    .optional();
const address = (fallback: string) =>
  z
    .string()
    .regex(/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9_.-]+):\d{1,5}$/, 'must be host:port')
    .default(fallback);

/** Where callers keep their token, perhaps in the environment that kiln is started from: no setting, and no mistake. */
const tokenVariable = 'KILN_TOKEN';

const webAddress = () => z.url({ protocol: /^https?$/, error: 'must be an http or https URL' }).optional();

/** Every setting, its default and what it means: the README's table and `--help` are made from this. */
const settings = z.object({
  KILN_LISTEN: address('127.0.0.1:8080').describe('Address of the HTTP API.'),
  KILN_GRPC_LISTEN: address('127.0.0.1:8081').describe('Address of the gRPC API.'),
  KILN_HOSTS: list().describe('Further host names the service may be called by, separated by commas.'),
  KILN_TLS_CERT: path().describe(
    'Certificate in PEM, with those between it and a known authority; with KILN_TLS_KEY, HTTP and gRPC are served over TLS alone.',
  ),
  KILN_TLS_KEY: path().describe('Its key in PEM, without a password.'),
  KILN_TLS_ENDED_BY_PROXY: flag('false').describe(
    'Whether TLS ends at a proxy before kiln: tokens are then taken over plain HTTP from other machines, too.',
  ),
  KILN_DATA_DIR: path().describe(
    'Records, logs, artifacts, templates, running VMs. Default: /var/lib/kiln as root, else $XDG_DATA_HOME/kiln.',
  ),
  KILN_CACHE_DIR: path().describe(
    'VM images and what they are made from. Default: /var/cache/kiln as root, else $XDG_CACHE_HOME/kiln.',
  ),
  KILN_ACCEL: z
    .enum(['auto', 'kvm', 'tcg'])
    .default('auto')
    .describe(
      'What VMs run on: KVM, software emulation (tcg), or KVM with emulation as a fallback while there are no tokens.',
    ),
  KILN_ENTRIES: list('buildkit-v0.20.2').describe(
    'BuildKits to keep ready, made at the start where they are not there: v0.20.2,v0.12.5=1,… The first is that of builds that ask for none; a number says how many warm VMs, in place of KILN_POOL_SIZE. Any other that this host has a VM image of starts when a build asks for it.',
  ),
  KILN_ENTRIES_DIR: path().describe(
    'Folder of entries of your own, read at the start: each is a folder whose Dockerfile goes on from the ctr image of an archive entry (FROM ctr_buildkit-v0.20.2), and whose name is the name of the entry.',
  ),
  KILN_POOL_SIZE: count(0, 2).describe(
    'Warm VMs kept ready of each entry in KILN_ENTRIES that gives no number of its own.',
  ),
  KILN_POOL_FROZEN: count(0, 2).describe(
    'Further VMs of each entry in KILN_ENTRIES that are made and do not run yet, as far as `KILN_MAX_VMS` leaves room: they take a fifth of the memory of a warm one, and one wakes when a warm one is taken.',
  ),
  KILN_MAX_VMS: count(1, 4).describe('VMs at once: warm, frozen and building together.'),
  KILN_VM_CPUS: count(1, 2).describe('Processors of a VM.'),
  KILN_VM_MEMORY_MIB: count(1024, 2048).describe('Memory of a VM in MiB.'),
  KILN_VM_DISK_BYTES: count(2 * gibibyte, 20 * gibibyte).describe(
    'Most that a build may write on the disk of its VM, an eighth of it in log and trace; less where the disk of KILN_DATA_DIR has less.',
  ),
  KILN_QUEUE_LIMIT: count(0, 100).describe('Builds that may wait for a VM; further ones get 503.'),
  KILN_TENANT_QUEUE_LIMIT: whole(1, Number.MAX_SAFE_INTEGER)
    .optional()
    .describe('How many of them may be of one tenant. Default: all.'),
  KILN_BUILD_TIMEOUT_SECONDS: seconds(1, 3600).describe(
    'Longest time a build may take in its VMs, all attempts together, where it asks for no other.',
  ),
  KILN_BUILD_TIMEOUT_MAX_SECONDS: seconds(1, 24 * 3600).describe('Most that a build may ask for.'),
  KILN_NO_OUTPUT_TIMEOUT_SECONDS: seconds(0, 0).describe(
    'How long a build may print nothing, where it asks for nothing else; 0 for as long as it likes.',
  ),
  KILN_UPLOAD_MAX_BYTES: count(1, 4 * gibibyte).describe('Largest upload.'),
  KILN_CONTEXT_MAX_BYTES: count(1, 8 * gibibyte).describe('Largest context, unpacked to a tar.'),
  KILN_CONTEXT_MAX_ENTRIES: count(1, 200_000).describe('Most files, folders and links of a context.'),
  KILN_ARTIFACT_MAX_BYTES: count(1024 * 1024, 10 * gibibyte).describe('Largest artifact.'),
  KILN_LOG_MAX_BYTES: count(1024 * 1024, 2 * gibibyte).describe(
    'Largest log of a build, its events included; a build that prints more fails.',
  ),
  KILN_MIN_FREE_BYTES: count(0, gibibyte).describe(
    'Builds are taken while the disk of KILN_DATA_DIR has this much free, if need be after files of old builds went; else they get 503.',
  ),
  KILN_KEEP_BUILDS: count(1, 1000).describe(
    'Ended builds whose log, events and artifact are kept; those that ended first go first.',
  ),
  KILN_KEEP_BYTES: count(1024 * 1024, 20 * gibibyte).describe(
    'What logs, events and artifacts of ended builds may take up together, in bytes; those of the build that ended last stay however large they are.',
  ),
  KILN_KEEP_RECORDS: count(1, 100_000).describe(
    'Records of builds that are kept, most of them without files.',
  ),
  KILN_CUSTOM_FRONTENDS: flag('true').describe(
    'Whether a Dockerfile may name another frontend with # syntax=.',
  ),
  KILN_BUILTIN_FRONTEND: flag('false').describe(
    "Whether all builds use BuildKit's own Dockerfile frontend, whatever # syntax= asks for; a build may choose it with builtin-frontend=true.",
  ),
  KILN_REGISTRY_MIRRORS: list().describe('Mirrors for image pulls: docker.io=http://127.0.0.1:5000,…'),
  KILN_CA_CERTS: path().describe(
    'Certificates in PEM of authorities that BuildKit trusts besides the public ones: for mirrors and registries, ADD https://… and git. RUN steps trust those of their own image.',
  ),
  KILN_EGRESS_ALLOW: list().describe(
    'Destinations opened to builds although they are not public: host:port or a network, 10.0.0.0/8 or 10.0.0.0/8:443,…',
  ),
  KILN_EGRESS_DENY: list().describe(
    'Destinations closed to builds, whatever else opens them: names, *.example.org, networks, each with :port or without,…',
  ),
  KILN_EGRESS_ONLY: list().describe(
    'Where it is set, builds reach nothing but this, KILN_EGRESS_ALLOW and the mirrors; written as KILN_EGRESS_DENY is.',
  ),
  KILN_STEP_NETWORK: z
    .enum(['bridge', 'vm'])
    .default('bridge')
    .describe(
      "Whose network a RUN step has: one of its own on a bridge, or its VM's, where steps share their ports and reach sshd and buildkitd.",
    ),
  KILN_SHUTDOWN_GRACE_SECONDS: seconds(0, 300).describe(
    'How long running builds may go on after the first signal to stop.',
  ),
  KILN_IMAGE_SOURCES: z
    .enum(['auto', 'registry', 'packages'])
    .default('auto')
    .describe('What the VM image is made from: a container registry (Ubuntu) or Debian packages.'),
  KILN_IMAGE_BUILDER: z
    .enum(['auto', 'vm', 'host'], 'must be auto, vm or host')
    .default('host')
    .describe(
      'What builds the images of a rebuild: a buildkitd on this machine, VMs of this service, or (auto) VMs where guests run on KVM, else the machine.',
    ),
  KILN_REGISTRY_CONFIG: path().describe(
    'docker config.json with the accounts that rebuilds publish images by (its auths alone).',
  ),
  KILN_REGISTRY_INSECURE: list()
    .pipe(z.array(z.string().regex(/^[A-Za-z0-9.-]+(:\d{1,5})?$/, 'must be host or host:port')))
    .describe(
      'Registries beyond this machine, host or host:port, that rebuilds publish to over plain HTTP, where whoever is on the way sees accounts and may change images.',
    ),
  KILN_DRIVER: z
    .enum(['qemu', 'docker'])
    .default('qemu')
    .describe(
      'How VMs are started: as processes of this machine, or as containers of a Docker engine on it.',
    ),
  DOCKER_HOST: z
    .string()
    .default('unix:///var/run/docker.sock')
    .describe('The Docker engine of KILN_DRIVER=docker: unix:///path or tcp://host:port.'),
  DOCKER_CERT_PATH: path().describe(
    'Folder of ca.pem, cert.pem and key.pem; where it is set, that engine is spoken to over TLS.',
  ),
  KILN_DQD_IMAGES: list().describe(
    'Dqd images that this engine has, taken in place of those that kiln would make: v0.20.2=registry.example.org/archive:buildkit-v0.20.2_v0.1.0,… Each must hold the first VM image that kiln has of an entry in KILN_ENTRIES.',
  ),
  BUILDKIT_HOST: z
    .string()
    .optional()
    .describe('A running buildkitd that makes the VM image, in place of one that kiln starts.'),
  OTEL_EXPORTER_OTLP_ENDPOINT: webAddress().describe(
    'Where traces of builds are sent, by OTLP over HTTP: http://127.0.0.1:4318. Without it there are none.',
  ),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: webAddress().describe(
    'The whole URL of that, where it is not /v1/traces; OTEL_EXPORTER_OTLP_HEADERS and the like count, too.',
  ),
  OTEL_SERVICE_NAME: z.string().default('kiln').describe('Whose traces they are said to be.'),
});

/** Every setting in the words of a table; the default is empty where there is none, or where the description tells it. */
export function listSettings(): { name: string; fallback: string; description: string }[] {
  return Object.entries(settings.shape).map(([name, schema]) => ({
    name,
    // The text that would stand in the environment.
    fallback:
      schema instanceof z.ZodDefault || schema instanceof z.ZodPipe ? String(schema.parse(undefined)) : '',
    description: schema.description ?? '',
  }));
}

export type Config = z.output<typeof settings> & {
  readonly dataDirectory: string;
  readonly cacheDirectory: string;
  /** Where root's VM images lie, for whoever is not root and set no folder of their own. */
  readonly sharedCacheDirectory: string | null;
  readonly asRoot: boolean;
};

/** @throws KilnError CONFIG_INVALID naming the variable, also for a KILN_ variable that does not exist. */
export function parseConfig(env: NodeJS.ProcessEnv, asRoot: boolean): Config {
  const unknown = Object.keys(env).find(
    (name) => name.startsWith('KILN_') && !(name in settings.shape) && name !== tokenVariable,
  );
  if (unknown)
    throw new KilnError('CONFIG_INVALID', `There is no setting ${unknown}; npm start -- --help lists them.`);
  const parsed = settings.safeParse(dropEmpty(env));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new KilnError('CONFIG_INVALID', `${issue?.path.join('.')}: ${issue?.message}.`);
  }
  const { KILN_BUILD_TIMEOUT_SECONDS: usual, KILN_BUILD_TIMEOUT_MAX_SECONDS: most } = parsed.data;
  if (usual > most)
    throw new KilnError(
      'CONFIG_INVALID',
      `KILN_BUILD_TIMEOUT_SECONDS (${usual}) is beyond KILN_BUILD_TIMEOUT_MAX_SECONDS (${most}).`,
    );
  return {
    ...parsed.data,
    asRoot,
    dataDirectory:
      parsed.data.KILN_DATA_DIR ?? (asRoot ? '/var/lib/kiln' : xdg(env['XDG_DATA_HOME'], '.local/share')),
    cacheDirectory:
      parsed.data.KILN_CACHE_DIR ?? (asRoot ? rootCacheDirectory : xdg(env['XDG_CACHE_HOME'], '.cache')),
    sharedCacheDirectory: asRoot || parsed.data.KILN_CACHE_DIR !== undefined ? null : rootCacheDirectory,
  };
}

/** A variable that is set to nothing counts as not set: `KILN_MIN_FREE_BYTES=` must not mean 0. */
function dropEmpty(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const trimmed = Object.entries(env).map(([name, value]) => [name, value?.trim()] as const);
  return Object.fromEntries(trimmed.filter(([, value]) => value !== ''));
}

/** Folders in the user's home. Not for root, whose QEMU runs as other users: they could not look in there. */
function xdg(base: string | undefined, fallback: string): string {
  return join(base && isAbsolute(base) ? base : join(homedir(), fallback), 'kiln');
}

/** Where traces go; null where none are asked for. */
export function traceTarget(config: Config): { url: string; serviceName: string } | null {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: base, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: whole } = config;
  const url = whole ?? (base && `${base.replace(/\/+$/, '')}/v1/traces`);
  return url === undefined ? null : { url, serviceName: config.OTEL_SERVICE_NAME };
}

export function splitAddress(text: string): { host: string; port: number } {
  const at = text.lastIndexOf(':');
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(text.slice(at + 1)) };
}
