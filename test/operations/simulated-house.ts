import assert from 'node:assert/strict';
import type { WarmVm } from '../../src/guest/warm-vm.ts';
import { raceAbort } from '../../src/lib/abort.ts';
import { KilnError } from '../../src/model/error.ts';
import type { ImageHouse, ToPublish } from '../../src/operations/image-house.ts';
import type { TemplateSource } from '../../src/vm/template-source.ts';
import { noImage } from '../images/no-image.ts';

/** What a VM of a simulated image says. */
const answers: Readonly<Record<string, string>> = {
  'buildkitd --version':
    'buildkitd github.com/moby/buildkit v0.20.2 97437fdd7e32f29ee80c6de8aa3d3b1bd6ba0b94\n',
  'runc --version': 'runc version 1.2.5\ncommit: v1.2.5\n',
  'uname -r': '6.1.0-56-amd64\n',
  'systemctl --failed --plain --no-legend': '',
};

export type SimulatedHouse = ImageHouse & {
  /** What was served, in order. */
  readonly served: string[];
  /** Templates that were made and not removed. */
  readonly templates: Set<string>;
  /** VMs that were started and not destroyed. */
  readonly alive: Set<string>;
  /** What was asked of a registry before anything was made. */
  readonly refused: ToPublish[];
  /** What was given for a VM, and not given back. */
  readonly rooms: ReadonlySet<Disposable>;
  /** Makes the next images wait until the returned function is called. */
  hold(): () => void;
};

type Failure =
  | 'makeCtr'
  | 'makeVm'
  | 'makeDqd'
  | 'tryOut'
  | 'startVm'
  | 'sign'
  | 'refusePublished'
  | 'publish';

const entryOfPrune = 'buildkit-v0.20.2';

/** Images that are made at once, VMs that only answer. Real ones are in test/e2e. */
export function simulateHouse(
  change: { answers?: Record<string, string>; fail?: Failure; needsDqd?: boolean } = {},
): SimulatedHouse {
  const said = { ...answers, ...change.answers };
  const served: string[] = [];
  const alive = new Set<string>();
  const templates = new Set<string>();
  const rooms = new Set<Disposable>();
  const refused: ToPublish[] = [];
  let gate: Promise<void> = Promise.resolve();
  const failAt = (place: typeof change.fail): void => {
    if (change.fail === place) throw new KilnError('INFRA', `${place} failed`);
  };
  return {
    ...{ served, alive, templates, rooms, refused },
    hold() {
      const { promise, resolve } = Promise.withResolvers<void>();
      gate = promise;
      return resolve;
    },
    needsDqd: change.needsDqd ?? false,
    async makeCtr({ entry, version, progress, output, signal }) {
      progress(`ctr  ${entry} ${version} …`);
      await output?.(Buffer.from('#1 [base 1/1] the base\n'));
      await raceAbort(gate, signal);
      failAt('makeCtr');
      return { layout: '/nowhere', digest: `sha256:${'c'.repeat(64)}` };
    },
    async makeVm({ entry, version }) {
      failAt('makeVm');
      const image = {
        ...noImage(entry),
        digest: `sha256:${'b'.repeat(64)}`,
        versions: { kernel: '6.1.0-56-amd64' },
      };
      return { image, ref: { version, directory: '/nowhere' } };
    },
    async makeDqd({ entry, version }) {
      failAt('makeDqd');
      return {
        ...{ reference: `kiln/dqd:${entry}-${version}`, tar: '/nowhere.tar' },
        digest: `sha256:${'d'.repeat(64)}`,
      };
    },
    async tryOut({ image }) {
      failAt('tryOut');
      templates.add('a template');
      return { image, templates: { key: 'a template' } as TemplateSource };
    },
    async discard() {
      templates.delete('a template');
    },
    async takeRoom({ onPlace, signal }) {
      onPlace(1);
      signal.throwIfAborted();
      const room = { [Symbol.dispose]: () => void rooms.delete(room) };
      rooms.add(room);
      return room;
    },
    async startVm() {
      assert.equal(rooms.size, 1);
      failAt('startVm');
      alive.add('vm-1');
      return {
        connection: { start: (command: string) => startSaying(said[command] ?? '') },
        [Symbol.asyncDispose]: async () => void alive.delete('vm-1'),
      } as unknown as WarmVm;
    },
    readEvidence: async ({ version }, kind) => (version === 'v9.9.9' ? null : `{"${kind}": "of ${version}"}`),
    async sign() {
      failAt('sign');
      return { directory: '/nowhere', created: '2026-01-02T03:04:05Z' };
    },
    async refusePublished(_making, publishing) {
      refused.push(publishing);
      failAt('refusePublished');
    },
    async publish({ entry, version }, { repo, images }) {
      failAt('publish');
      return images.map(({ kind, digest }) => {
        const alias = `${repo}:${kind === 'ctr' ? 'ctr_' : ''}${entry}`;
        return { kind, digest, reference: `${alias}_${version}`, alias };
      });
    },
    checks: async () => [],
    async serve({ image }, ref) {
      served.push(`${image.entry} ${ref?.version}`);
    },
    servedVersions: async () => [],
    async prune({ claim, dryRun }) {
      using claimed = claim(entryOfPrune);
      await gate;
      return claimed ? [{ entry: entryOfPrune, kind: 'vm', version: 'v0.0.1', bytes: dryRun ? 1 : 2 }] : [];
    },
    async rollBack(entry) {
      if (served.length === 0) throw new KilnError('NO_PREVIOUS_IMAGE', 'There is none.');
      served.push(`${entry} back`);
      return { entry, version: null, imageDigest: `sha256:${'a'.repeat(64)}` };
    },
  };
}

/** A command that prints this and exits with 0. */
async function startSaying(text: string) {
  const once = async function* (bytes: Buffer): AsyncGenerator<Buffer> {
    if (bytes.length > 0) yield bytes;
  };
  return {
    send: () => ({
      stdout: once(Buffer.from(text)),
      stderr: once(Buffer.alloc(0)),
      exitCode: Promise.resolve(0),
    }),
  };
}
