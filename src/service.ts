import manifest from '../package.json' with { type: 'json' };
import { openArtifactStore } from './artifacts/artifact-store.ts';
import { AuditLog } from './audit/audit-log.ts';
import { audit } from './audit/audited.ts';
import { createBuilds, type RunningBuilds } from './builds/create-builds.ts';
import { describeReadiness } from './builds/readiness.ts';
import { recoverBuilds } from './builds/recover-builds.ts';
import { Retention } from './builds/retention.ts';
import {
  describeUnsafe,
  listPublicAddresses,
  refuseStrangers,
  refuseTakenAddresses,
} from './config/addresses.ts';
import { type Config, splitAddress, traceTarget } from './config/config.ts';
import { readAuthorities, readTlsIdentity } from './config/tls.ts';
import { chooseProcessor, openContainers, openDriver } from './driver.ts';
import { createCheckedDial } from './egress/dial-checked.ts';
import { EgressLimits } from './egress/egress-limits.ts';
import { createEgressPolicy } from './egress/egress-policy.ts';
import { parseEgressRules, parseRegistryMirrors, registryConfig } from './egress/settings.ts';
import { Fleet } from './fleet/fleet.ts';
import { createGrpcServer, defaultGrpcSettings } from './grpc/server.ts';
import { openTemplates } from './guest/open-templates.ts';
import { createFrozenVm, type WarmVm } from './guest/warm-vm.ts';
import {
  createDataFolder,
  ensureInstallationId,
  prepareDataFolders,
  requirePassable,
} from './host/data-folders.ts';
import { DiskBudget, describeSmallDisk } from './host/disk-budget.ts';
import { readHostLimits } from './host/host-limits.ts';
import { prepareHost } from './host-setup.ts';
import { createHttpServer } from './http/server.ts';
import { chooseBuilder } from './images/choose-builder.ts';
import { findImages } from './images/find-images.ts';
import { MadeImages } from './images/made-images.ts';
import { ServedImages } from './images/served-images.ts';
import type { Logger } from './lib/logger.ts';
import { KilnError } from './model/error.ts';
import { openObservation } from './observe/observation.ts';
import { createOperations } from './operations/create-operations.ts';
import { createImageHouse } from './operations/image-house.ts';
import { recoverOperations } from './operations/recover-operations.ts';
import { createDigestReader } from './registry/read-digest.ts';
import { Scheduler } from './scheduler/scheduler.ts';
import { ensureKeyPair } from './ssh/keys.ts';
import { openBuildStore } from './store/build-store.ts';
import { createAuthenticator } from './tokens/authenticate.ts';
import { TokenFolder } from './tokens/token-folder.ts';
import { removeForeignTemplates, removeOldTemplates } from './vm/ensure-template.ts';
import { createProcessUsers } from './vm/process-users.ts';
import { sweepVms } from './vm/sweep.ts';
import type { VmSetup } from './vm/vm.ts';

export type ServiceOptions = {
  readonly config: Config;
  /** Where programs are looked for, as in $PATH. */
  readonly path: string;
  readonly logger: Logger;
  /** Set-up in lines for people. */
  readonly progress: (line: string) => void;
  /** Ends the set-up. */
  readonly signal: AbortSignal;
};

export type Service = {
  readonly httpUrl: string;
  readonly grpcAddress: string;
  /** Whether callers needed a token when it started. */
  readonly needsToken: boolean;
  readonly builds: RunningBuilds;
  readonly scheduler: Scheduler<WarmVm>;
  /** The archive entry of builds that ask for none. */
  readonly entry: string;
  /** Refuses new builds, lets running ones finish until `hurry` aborts, then ends everything. Nothing is left behind. */
  close(hurry: AbortSignal): Promise<void>;
};

/** What most builds get along with in their VM. */
const buildRoomBytes = 2 * 1024 ** 3;

/** Puts kiln together, bottom up; what was started is stopped again when a later part fails. */
export async function startService(options: ServiceOptions): Promise<Service> {
  const { config, logger, progress, signal } = options;
  await using undo = new AsyncDisposableStack();
  const tokens = new TokenFolder(config.dataDirectory);
  const needsToken = await tokens.required();
  const publicAddresses = listPublicAddresses(config);
  if (!(await tokens.any())) refuseStrangers(config);
  const tls = await readTlsIdentity(config);
  const authorities = await readAuthorities(config);
  const secure = tls !== null || config.KILN_TLS_ENDED_BY_PROXY;
  if (!secure && publicAddresses.length > 0) progress(`note  ${describeUnsafe(publicAddresses)}`);
  await refuseTakenAddresses(config);
  const mirrors = parseRegistryMirrors(config.KILN_REGISTRY_MIRRORS);
  const rules = parseEgressRules({
    allow: config.KILN_EGRESS_ALLOW,
    deny: config.KILN_EGRESS_DENY,
    only: config.KILN_EGRESS_ONLY,
  });
  const policy = createEgressPolicy({ ...rules, mirrors });
  const limits = new EgressLimits({ ...(await readHostLimits()), guests: config.KILN_MAX_VMS });
  await requirePassable(config);
  await createDataFolder(config.dataDirectory);
  // The store's lock keeps a second kiln off this data: until it is held, nothing that is there may be touched.
  const store = undo.use(await openBuildStore(config.dataDirectory));
  const folders = await prepareDataFolders(config.dataDirectory);
  const installation = await ensureInstallationId(config.dataDirectory);
  const docker = await openContainers({ config, installation, logger }, signal);
  if (docker) undo.use(docker.containers);
  const swept = await sweepVms({ installation, vmsDirectory: folders.vms }, signal);
  const processes = swept.processes + (docker?.left ?? 0);
  if (processes + swept.folders > 0)
    progress(`swept  ${processes} VMs, ${swept.folders} VM folders of an earlier run`);
  const artifacts = await openArtifactStore(folders.artifacts);
  const retention = undo.use(
    await Retention.open({
      ...{ store, artifacts, buildsDirectory: folders.builds, logger },
      limits: {
        maxBuilds: config.KILN_KEEP_BUILDS,
        maxBytes: config.KILN_KEEP_BYTES,
        maxRecords: config.KILN_KEEP_RECORDS,
      },
      minFreeBytes: config.KILN_MIN_FREE_BYTES,
      buildRoomBytes,
    }),
  );
  const { metrics, observer } = undo.use(await openObservation(traceTarget(config)));
  const left = await recoverBuilds({
    ...{ store, buildsDirectory: folders.builds, retention, observer, logger },
  });

  const host = await prepareHost(config, { ...options, sealsDirectory: folders.seals, installation });
  const { catalog, kept, networkPrograms } = host;
  const containers = docker?.containers ?? null;
  const served = new ServedImages(folders.images);
  const found = await findImages(catalog, { request: host.request, served, logger });
  const made = new MadeImages(folders.images);
  const { launcher, image, images, load, unload } = await openDriver({
    ...{ ...options, host, images: found, made, containers, vmsDirectory: folders.vms },
  });
  const accelerator = await chooseProcessor({ launcher, image }, options, needsToken);
  const setup: VmSetup = {
    installation,
    launcher,
    processor: accelerator.processor,
    cpus: config.KILN_VM_CPUS,
    memoryMiB: config.KILN_VM_MEMORY_MIB,
    diskBytes: config.KILN_VM_DISK_BYTES,
    users: createProcessUsers(config.asRoot),
    vmsDirectory: folders.vms,
    templatesDirectory: folders.templates,
  };
  const keys = await ensureKeyPair(config.dataDirectory);
  await removeForeignTemplates(folders.templates, [...images.keys()]);
  const stopping = new AbortController();
  undo.defer(() => stopping.abort(new KilnError('DRAINING', 'The service is stopping.')));
  const stepNetwork = config.KILN_STEP_NETWORK;
  const guest = {
    ...{ setup, keys, registryConfig: registryConfig(mirrors), networkPrograms, authorities },
    ...{ stepNetwork, progress, logger },
  };
  const fleet = new Fleet({
    ...{ catalog, standard: image.entry, images },
    openTemplates: ({ capabilities }, { image: from, signal: linked }) =>
      openTemplates(guest, { capabilities, image: from }, linked),
    keepTemplates: (entry, keys) => removeOldTemplates(setup, entry, keys),
    logger,
    signal: AbortSignal.any([signal, stopping.signal]),
  });
  await fleet.open(image.entry);

  const disk = new DiskBudget({
    directory: folders.vms,
    keepFreeBytes: config.KILN_MIN_FREE_BYTES,
    makeRoom: () => retention.makeRoom(),
  });
  const smallDisk = await describeSmallDisk(disk, {
    builds: config.KILN_MAX_VMS,
    bytes: config.KILN_VM_DISK_BYTES + config.KILN_ARTIFACT_MAX_BYTES,
  });
  if (smallDisk) progress(`note  ${smallDisk}`);
  const ofAllVms = { setup, keys, policy, limits, stepNetwork };
  const scheduler = new Scheduler<WarmVm>({
    create: async (entry, linked) => {
      const source = await fleet.source(entry, linked);
      const { capabilities } = fleet.find(entry);
      return createFrozenVm({ ...ofAllVms, ...source, capabilities }, linked);
    },
    kept,
    max: config.KILN_MAX_VMS,
    limit: config.KILN_QUEUE_LIMIT,
    tenantLimit: config.KILN_TENANT_QUEUE_LIMIT,
    onLease: observer.leased,
    logger,
  });
  undo.defer(() => scheduler.close());
  const readiness = {
    ...{ scheduler, kept, maxVms: config.KILN_MAX_VMS },
    ...{ queueLimit: config.KILN_QUEUE_LIMIT, entry: image.entry },
    accelerator: { name: accelerator.processor.accelerator, note: accelerator.note },
  };
  const builds = createBuilds({
    ...{ store, scheduler, artifacts, retention, observer },
    readDigest: createDigestReader({ dial: createCheckedDial(policy) }),
    ...{ buildsDirectory: folders.builds, stagingDirectory: folders.staging, disk },
    vmDiskBytes: config.KILN_VM_DISK_BYTES,
    maxArtifactBytes: config.KILN_ARTIFACT_MAX_BYTES,
    maxLogBytes: config.KILN_LOG_MAX_BYTES,
    minFreeBytes: config.KILN_MIN_FREE_BYTES,
    timeouts: {
      defaultSeconds: config.KILN_BUILD_TIMEOUT_SECONDS,
      maxSeconds: config.KILN_BUILD_TIMEOUT_MAX_SECONDS,
      noOutputSeconds: config.KILN_NO_OUTPUT_TIMEOUT_SECONDS,
    },
    fleet,
    limits: {
      maxBytes: config.KILN_CONTEXT_MAX_BYTES,
      maxEntries: config.KILN_CONTEXT_MAX_ENTRIES,
      maxUploadBytes: config.KILN_UPLOAD_MAX_BYTES,
    },
    policy: { customFrontends: config.KILN_CUSTOM_FRONTENDS },
    builtinFrontend: config.KILN_BUILTIN_FRONTEND,
    readiness: (draining) => describeReadiness(readiness, draining),
    logger,
  });
  undo.defer(() => builds.drain());
  await recoverOperations(folders.operations, logger);
  const operations = createOperations({
    ...{ directory: folders.operations, fleet, observer, logger },
    house: createImageHouse({
      ...{ fleet, scheduler, served, logger, load, unload, request: host.request },
      ...{ made, containers: containers !== null },
      registries: { config: config.KILN_REGISTRY_CONFIG ?? null, insecure: config.KILN_REGISTRY_INSECURE },
      signing: { installation, keyDirectory: config.dataDirectory },
      builderOf: chooseBuilder({
        ...{ setting: config.KILN_IMAGE_BUILDER, builds, maxSeconds: config.KILN_BUILD_TIMEOUT_MAX_SECONDS },
        accelerator: accelerator.processor.accelerator,
        capabilities: fleet.find(undefined).capabilities,
      }),
      vm: ofAllVms,
    }),
  });
  undo.defer(() => operations.close());
  metrics.show(
    {
      ...{ version: manifest.version, accelerator: accelerator.processor.accelerator },
      ...{ maxVms: config.KILN_MAX_VMS, queueLimit: config.KILN_QUEUE_LIMIT },
    },
    () => ({
      ready: builds.readiness().ready,
      ...{ pools: scheduler.status, waits: scheduler.waits },
      operationsRunning: operations.runningCount,
    }),
  );
  await builds.resume(left);
  scheduler.start();

  const hosts = config.KILN_HOSTS;
  const authenticate = createAuthenticator(tokens, { secure, proxied: config.KILN_TLS_ENDED_BY_PROXY });
  const useCases = audit({ builds, operations }, { log: new AuditLog(config.dataDirectory), logger });
  const http = createHttpServer({
    ...{ ...useCases, authenticate, metrics },
    settings: { hosts, tls, uploadMaxBytes: config.KILN_UPLOAD_MAX_BYTES },
    logger,
  });
  undo.defer(() => http.close());
  const { url } = await http.listen(splitAddress(config.KILN_LISTEN));
  const grpc = createGrpcServer({
    ...{ ...useCases, authenticate },
    settings: { ...defaultGrpcSettings, hosts, tls, uploadMaxBytes: config.KILN_UPLOAD_MAX_BYTES },
    logger,
  });
  undo.defer(() => grpc.close());
  const grpcHost = splitAddress(config.KILN_GRPC_LISTEN);
  const { port } = await grpc.listen(grpcHost);

  const resources = undo.move();
  return {
    httpUrl: url,
    grpcAddress: `${grpcHost.host}:${port}`,
    needsToken,
    builds,
    scheduler,
    entry: image.entry,
    async close(hurry) {
      const abort = (): void => builds.abort();
      hurry.addEventListener('abort', abort, { once: true });
      if (hurry.aborted) abort();
      await Promise.all([builds.drain(), operations.close()]);
      await resources.disposeAsync();
    },
  };
}
