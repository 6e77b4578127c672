import { listSettings } from './config.ts';

const descriptionAt = 4;

/** What `npm start -- --help` prints. */
export function renderUsage(): string {
  const lines = listSettings().flatMap(({ name, fallback, description }) => [
    `  ${name}${fallback === '' ? '' : `=${fallback}`}`,
    `${' '.repeat(descriptionAt)}${description}`,
  ]);
  return `kiln builds Dockerfiles, each in a virtual machine made for it.

  npm start                 sets everything up and serves builds until Ctrl-C
  npm start -- --help       this text
  npm start -- --version    the version of kiln

It is set by environment variables, shown with their defaults:

${lines.join('\n')}

A build: tar -czf - . | curl -N --fail-with-body -F context=@- http://127.0.0.1:8080/build
The API: http://127.0.0.1:8080/docs
`;
}
