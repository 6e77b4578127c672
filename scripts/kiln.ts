import { asksForUsage, renderCommands, runCommand } from '../src/cli/run-command.ts';
import { parseConfig } from '../src/config/config.ts';
import { isOurs, KilnError } from '../src/model/error.ts';

/** `npm run kiln -- COMMAND`: what is done to an installation beside its service. */
// As the service does: what it shares with QEMU's users is readable, whatever the umask of whoever runs this.
process.umask(0o022);
const args = process.argv.slice(2);
const uid = process.getuid?.() ?? 0;
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => stopping.abort(new KilnError('CANCELLED', 'Stopped.')));

if (asksForUsage(args)) console.log(renderCommands());
else {
  try {
    await runCommand(args, () => ({
      config: parseConfig(process.env, uid === 0),
      uid,
      token: process.env['KILN_TOKEN'] || null,
      signal: stopping.signal,
      print: (text) => void process.stdout.write(text),
      answer: (line) => console.log(line),
      say: (line) => console.error(line),
    }));
  } catch (error) {
    const { code, message, cause } = KilnError.from(error);
    console.error(`kiln: ${message}`);
    if (isOurs(code) && cause !== undefined) console.error(cause);
    // As shells tell of whoever was stopped by Ctrl-C.
    process.exitCode = code === 'CANCELLED' && stopping.signal.aborted ? 130 : 1;
  }
}
