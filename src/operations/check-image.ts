import type { Entry } from '../catalog/catalog.ts';
import type { WarmVm } from '../guest/warm-vm.ts';
import { printable } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import type { VmImage } from '../model/vm-image.ts';
import { capture } from '../ssh/capture.ts';

/** What is asked of the guest, and what its answer must hold. */
type Question = { readonly command: string; readonly expected: string };

/**
 * Looks at a VM of a new image from inside: that it runs what its entry pins and its manifest says, and that none of its units failed.
 * @param say A line for people.
 * @throws KilnError CANARY_FAILED
 */
export async function checkImage(
  { vm, image, pins }: { vm: WarmVm; image: VmImage; pins: Entry['pins'] },
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const questions: readonly Question[] = [
    { command: 'buildkitd --version', expected: ` ${pins.BUILDKIT_VERSION} ` },
    { command: 'runc --version', expected: `runc version ${pins.RUNC_VERSION}\n` },
    { command: 'uname -r', expected: `${image.versions['kernel']}\n` },
  ];
  for (const { command, expected } of questions) {
    const answer = await capture(vm.connection, command, { signal });
    say(`check  ${command}: ${firstLine(answer)}`);
    if (!answer.includes(expected)) {
      throw new KilnError(
        'CANARY_FAILED',
        `In a VM of the new image '${command}' says '${firstLine(answer)}'; it must say '${expected.trim()}'.`,
      );
    }
  }
  const failed = (await capture(vm.connection, 'systemctl --failed --plain --no-legend', { signal })).trim();
  if (failed !== '')
    throw new KilnError('CANARY_FAILED', `In a VM of the new image units failed: ${firstLine(failed)}`);
  say('check  no unit failed');
}

/** The guest is not to be trusted with a terminal, or with much of a line. */
function firstLine(text: string): string {
  return printable(text.split('\n')[0]?.slice(0, 200) ?? '');
}
