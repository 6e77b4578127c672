import { get } from 'node:http';
import { get as getOverTls } from 'node:https';

/**
 * Whether the service in this container can build now: exits with 1 where not. It asks where KILN_LISTEN says, over TLS where the
 * service has a certificate, whoever that is for: this asks nobody but itself.
 */
const { KILN_LISTEN, KILN_TLS_CERT } = process.env;
const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(KILN_LISTEN || '127.0.0.1:8080') ?? [];
const anywhere: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '[::]': '[::1]' };
const address = `${anywhere[host] ?? host}:${port}/readyz`;
const request = KILN_TLS_CERT
  ? getOverTls(`https://${address}`, { rejectUnauthorized: false, headers: { host: 'localhost' } })
  : get(`http://${address}`, { headers: { host: 'localhost' } });

request.once('error', (error) => end(error.message, 1));
request.once('response', (response) => {
  response.resume();
  end(`ready: ${response.statusCode === 200}`, response.statusCode === 200 ? 0 : 1);
});

function end(line: string, status: number): void {
  process.stdout.write(`${line}\n`, () => process.exit(status));
}
