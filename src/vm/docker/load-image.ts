import { createReadStream } from 'node:fs';
import { KilnError } from '../../model/error.ts';
import { type DockerEngine, isNotFound } from './engine.ts';

/** A gigabyte, unpacked by a busy machine. */
const loadDeadlineMs = 600_000;

/**
 * Has the engine know an image, which is in the tar.
 * @param dqd.reference Its name, which changes with its content.
 * @returns its id: all further use of it is by that.
 * @throws KilnError INFRA
 */
export async function loadImage(
  engine: DockerEngine,
  dqd: { readonly reference: string; readonly tar: string },
  signal: AbortSignal,
): Promise<string> {
  const there = await findImage(engine, dqd.reference, signal);
  if (there !== null) return there;
  const load = async (abortSignal: AbortSignal): Promise<void> => {
    const tar = createReadStream(dqd.tar);
    try {
      const answer = await engine.docker.loadImage(tar, { quiet: true, abortSignal });
      // It answers while it works; a failure is a line of that.
      answer.resume();
      await new Promise<void>((resolve, reject) => answer.once('end', resolve).once('error', reject));
    } finally {
      // Where the engine takes no more of it, nobody else closes it.
      tar.destroy();
    }
  };
  await engine.ask('load an image', signal, (_docker, abortSignal) => load(abortSignal), loadDeadlineMs);
  const loaded = await findImage(engine, dqd.reference, signal);
  if (loaded === null) throw new KilnError('INFRA', `The Docker engine did not load ${dqd.tar}.`);
  return loaded;
}

/** The id of an image that the engine has. @throws KilnError CONFIG_INVALID where it has none of that name; INFRA */
export async function requireImage(
  engine: DockerEngine,
  reference: string,
  signal: AbortSignal,
): Promise<string> {
  const id = await findImage(engine, reference, signal);
  if (id !== null) return id;
  throw new KilnError(
    'CONFIG_INVALID',
    `The Docker engine has no image ${reference}, which KILN_DQD_IMAGES names: docker pull ${reference}`,
  );
}

async function findImage(
  engine: DockerEngine,
  reference: string,
  signal: AbortSignal,
): Promise<string | null> {
  try {
    const { Id } = await engine.ask('inspect an image', signal, (docker) =>
      docker.getImage(reference).inspect(),
    );
    return Id;
  } catch (error) {
    if (isNotFound(error)) return null;
    throw error;
  }
}
