import { listSettings } from './config.ts';

const descriptionAt = 4;

/** What `npm start` prints when a build can be sent: how to send one. */
export function renderReady(service: {
  readonly httpUrl: string;
  readonly grpcAddress: string;
  readonly needsToken: boolean;
}): string[] {
  const { httpUrl, grpcAddress, needsToken } = service;
  const token = needsToken ? '-H "Authorization: Bearer $KILN_TOKEN" ' : '';
  return [
    `ready  HTTP on ${httpUrl}, gRPC on ${grpcAddress}. Try:`,
    ...(needsToken ? ['KILN_TOKEN stands for a token: npm run kiln -- token create --role build'] : []),
    '',
    `  tar -czf - -C examples/hello . | curl -N --fail-with-body ${token}-F context=@- ${httpUrl}/build`,
    '',
  ];
}

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
  npm run kiln -- --help    commands beside it: tokens, rebuilds

It is set by environment variables, shown with their defaults:

${lines.join('\n')}

A build: tar -czf - . | curl -N --fail-with-body -F context=@- http://127.0.0.1:8080/build
The API: http://127.0.0.1:8080/docs
`;
}
