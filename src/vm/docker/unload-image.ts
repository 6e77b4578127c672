import { type DockerEngine, isNotFound } from './engine.ts';

/** As long as the answer of a busy machine takes. */
const deadlineMs = 60_000;

/**
 * The engine forgets an image and removes its layers. One that containers still run on loses its name and stays for them. One that is not there
 * is no failure.
 * @throws KilnError INFRA
 */
export async function unloadImage(
  engine: DockerEngine,
  reference: string,
  signal: AbortSignal,
): Promise<void> {
  const remove = async (): Promise<void> => {
    try {
      await engine.docker.getImage(reference).remove();
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  };
  await engine.ask('remove an image', signal, remove, deadlineMs);
}
