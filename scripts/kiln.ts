import { asksForUsage, renderCommands, runCommand } from '../src/cli/run-command.ts';
import { parseConfig } from '../src/config/config.ts';
import { isOurs, KilnError } from '../src/model/error.ts';

/** `npm run kiln -- COMMAND`: what is done to an installation beside its service. */
// As the service does: what it shares with QEMU's users is readable, whatever the umask of whoever runs this.
process.umask(0o022);
const args = process.argv.slice(2);
const uid = process.getuid?.() ?? 0;

if (asksForUsage(args)) console.log(renderCommands());
else {
  try {
    await runCommand(args, () => ({
      config: parseConfig(process.env, uid === 0),
      uid,
      answer: (line) => console.log(line),
      say: (line) => console.error(line),
    }));
  } catch (error) {
    const { code, message, cause } = KilnError.from(error);
    console.error(`kiln: ${message}`);
    if (isOurs(code) && cause !== undefined) console.error(cause);
    process.exitCode = 1;
  }
}
