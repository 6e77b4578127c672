import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { pack } from 'tar-stream';
import { type BuildctlRun, runBuildctl } from '../buildkit/run-buildctl.ts';
import type { Capabilities } from '../catalog/capabilities.ts';
import { withDeadline } from '../lib/abort.ts';
import type { StepNetwork } from '../model/build.ts';
import { KilnError } from '../model/error.ts';
import { parseSpec } from '../model/spec.ts';
import { capture } from '../ssh/capture.ts';
import { connectSsh, type SshConnection } from '../ssh/connection.ts';
import type { SshKeyPair } from '../ssh/keys.ts';
import type { GuestPreparation } from '../vm/template.ts';
import type { SshEndpoint } from '../vm/vm.ts';
import { trustAuthorities } from './authorities.ts';
import type { GuestFile } from './guest-file.ts';
import { buildScript, fingerprintOf, prepareScript } from './guest-files.ts';
import { networksAhead } from './step-network.ts';

const retryMs = 200;
const firstBuildMs = 180_000;

/** Names are kiln's business, and the time is what kiln says: nothing of the VM itself asks anybody. */
const restart = `systemctl daemon-reload
systemctl stop systemd-resolved.service systemd-timesyncd.service
systemctl restart ssh.service kiln-relay.service buildkit.service`;

/**
 * What is done to a freshly booted guest before its template is taken: kiln's files, buildkitd started with its way out, and
 * one build, so that each clone wakes with a daemon that has built before and a page cache that holds its programs.
 */
export function createGuestPreparation(
  files: readonly GuestFile[],
  options: { keys: SshKeyPair; capabilities: Capabilities; stepNetwork: StepNetwork },
): GuestPreparation {
  const { keys, capabilities } = options;
  const prepare = `${prepareScript} ${networksAhead(options)}`;
  return {
    fingerprint: fingerprintOf(files),
    async prepare(endpoint, signal) {
      await using connection = await connectWhenUp(endpoint, keys, signal);
      await waitUntilRunning(connection, signal);
      await copyFiles(connection, files, signal);
      await capture(connection, trustAuthorities, { signal });
      await capture(connection, restart, { signal });
      await capture(connection, prepare, { signal });
      await buildOnce(connection, capabilities, signal);
      await capture(connection, prepare, { signal });
    },
  };
}

/** The way every build goes, but for its disks. */
async function buildOnce(
  connection: SshConnection,
  capabilities: Capabilities,
  signal: AbortSignal,
): Promise<void> {
  const nothing = async (): Promise<void> => undefined;
  let log = '';
  const onLog = async (bytes: Buffer): Promise<void> => {
    log += bytes.toString('utf8');
  };
  const run: BuildctlRun = {
    ...{ capabilities, spec: parseSpec({}), contextDisk: null, artifactDisk: null },
    dockerfile: Buffer.from('FROM scratch\nCOPY . /\n'),
    start: (command, linked) => connection.start(command, linked),
    ...{ onLog, onStatus: nothing, onContextReady: nothing, onHistoryLost: () => undefined },
  };
  const reason = (): Error =>
    new KilnError('INFRA', `The guest's first build did not end within ${firstBuildMs / 1000} s.`);
  const { exitCode } = await withDeadline({ ms: firstBuildMs, signal, reason }, async (linked) =>
    runBuildctl(await connection.start(buildScript, linked), run, linked),
  );
  if (exitCode !== 0) throw new KilnError('INFRA', `The guest's first build failed: ${log.slice(-2000)}`);
}

async function connectWhenUp(
  endpoint: SshEndpoint,
  keys: SshKeyPair,
  signal: AbortSignal,
): Promise<SshConnection> {
  for (;;) {
    try {
      return await connectSsh({ ...endpoint, privateKey: keys.privateKey }, signal);
    } catch (error) {
      if (signal.aborted) throw withCause(signal.reason, error);
      await sleep(retryMs, undefined, { signal }).catch(() => {
        throw withCause(signal.reason, error);
      });
    }
  }
}

/** Why nobody waits any longer, and why the guest was not up yet. */
function withCause(reason: unknown, cause: unknown): KilnError {
  const { code, message } = KilnError.from(reason);
  return new KilnError(code, message, { cause });
}

/** `degraded` names a unit that failed: an image that is not what the archive promises. */
async function waitUntilRunning(connection: SshConnection, signal: AbortSignal): Promise<void> {
  const command = 'systemctl is-system-running --wait || systemctl --failed --plain --no-legend';
  const answer = (await capture(connection, command, { signal })).trim();
  if (answer !== 'running') throw new KilnError('INFRA', `The guest did not come up cleanly: ${answer}`);
}

async function copyFiles(
  connection: SshConnection,
  files: readonly GuestFile[],
  signal: AbortSignal,
): Promise<void> {
  const archive = pack();
  for (const { path, mode, content } of files) archive.entry({ name: path.slice(1), mode }, content);
  archive.finalize();
  const input = await buffer(archive);
  await capture(connection, 'tar --extract --directory=/', { input, signal });
}
