import { execFile } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { extract } from 'tar-stream';
import { writeOciLayout } from '../../src/images/oci-layout.ts';

const run = promisify(execFile);

/** Archives for named contexts: `layout` is an OCI image layout of an image with one file, `files` a folder with a .dockerignore. */
export async function createArchives(): Promise<AsyncDisposable & { layout: string; files: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-named-'));
  const [root, folder, image] = ['root', 'folder', 'image'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [root, folder, image]) await mkdir(path);
  await writeFile(join(root, 'of-base'), 'from the layout\n');
  const layer = join(directory, 'layer.tar');
  await run('tar', ['-cf', layer, '-C', root, '.']);
  await writeOciLayout({ tar: layer, directory: image }, new AbortController().signal);
  await writeFile(join(folder, 'kept'), 'from the folder\n');
  await writeFile(join(folder, 'ignored'), 'x');
  await writeFile(join(folder, '.dockerignore'), 'ignored\n');
  const [layout, files] = ['layout.tar', 'files.tgz'].map((name) => join(directory, name)) as [
    string,
    string,
  ];
  await run('tar', ['-cf', layout, '-C', image, '.']);
  await run('tar', ['-czf', files, '-C', folder, '.']);
  return { layout, files, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
}

/** The files of a tar, by name. */
export async function readTar(path: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for await (const entry of createReadStream(path).pipe(extract()))
    if (entry.header.type === 'file') files[entry.header.name] = await text(entry);
    else entry.resume();
  return files;
}
