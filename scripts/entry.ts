import { join } from 'node:path';
import { listArchive } from '../src/catalog/catalog.ts';
import { addEntry } from './entry/add-entry.ts';
import { catalogTable } from './entry/catalog-table.ts';
import { removeRepositories } from './entry/source.ts';

const usage = `npm run entry -- list                 the archive entries of this project
npm run entry -- table                the same as the README's table
npm run entry -- add v0.21.1 …        writes images/buildkit/v0.21.1/.env, for each version named

All that \`add\` writes is read from the modules of the release: runc and the line of Go from BuildKit's own Dockerfile, hashes checked
against Go's checksum database, commits from the module proxy or else from the repository. It needs \`go\`, any from 1.19 on, and
takes its settings (GOPROXY, GOMODCACHE). A mirror of the repository is named to git, for example
  GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=url.file:///srv/buildkit.git.insteadOf GIT_CONFIG_VALUE_0=<the repository's address>
An entry starts as \`unbuilt\`; build it, test it, then set STATE=checked.`;

const images = join(import.meta.dirname, '../images');
const [command, ...names] = process.argv.slice(2);

if (command === 'list' && names.length === 0) await list();
else if (command === 'table' && names.length === 0) console.log(catalogTable(await listArchive(images)));
else if (command === 'add' && names.length > 0) await addAll();
else {
  const asked = command === '--help' || command === 'help';
  (asked ? console.log : console.error)(usage);
  process.exitCode = asked ? 0 : 2;
}

async function list(): Promise<void> {
  for (const { name, state, pins } of await listArchive(images)) {
    const versions = `runc ${pins.RUNC_VERSION}`.padEnd(18) + pins.GO_TOOLCHAIN.padEnd(12);
    console.log(`${name.padEnd(20)}${versions}${state}`);
  }
}

/** One that cannot be added holds up no other. */
async function addAll(): Promise<void> {
  try {
    for (const version of names) await add(version);
  } finally {
    await removeRepositories();
  }
}

async function add(version: string): Promise<void> {
  try {
    const { path, unknown } = await addEntry(images, version);
    console.log([`${version}: wrote ${path}`, ...unknown.map((what) => `  not known: ${what}`)].join('\n'));
  } catch (error) {
    process.exitCode = 1;
    console.error(`${version}: not added: ${error instanceof Error ? error.message : String(error)}`);
  }
}
