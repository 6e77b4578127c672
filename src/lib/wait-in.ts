/** Stands in a line until `enter` is called. A set keeps the order, and lets anyone leave it. @throws the reason of the signal, which ends the wait */
export function waitIn(line: Set<() => void>, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      line.delete(enter);
      signal?.removeEventListener('abort', giveUp);
    };
    const enter = (): void => {
      leave();
      resolve();
    };
    const giveUp = (): void => {
      leave();
      reject(signal?.reason);
    };
    line.add(enter);
    signal?.addEventListener('abort', giveUp);
  });
}
