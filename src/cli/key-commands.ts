import { ensureSigningKey, publicKeyPem } from '../evidence/signing-key.ts';
import { createDataFolder } from '../host/data-folders.ts';
import type { Command } from './command.ts';
import { ownDataFolder } from './own-data-folder.ts';

export const keyCommands: readonly Command[] = [
  {
    name: 'key',
    takes: '',
    summary: 'Prints the public key, in PEM, of what this installation signs: how its images were made.',
    options: [],
    words: 0,
    async run(_given, context) {
      const directory = await ownDataFolder(context);
      await createDataFolder(directory);
      const key = await ensureSigningKey(directory);
      context.answer(publicKeyPem(key).trimEnd());
      context.say(`kiln: signatures call it ${key.id}.`);
    },
  },
];
