import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import type { TlsIdentity } from '../lib/tls-identity.ts';
import { KilnError } from '../model/error.ts';
import type { Config } from './config.ts';

type TlsConfig = Pick<Config, 'KILN_TLS_CERT' | 'KILN_TLS_KEY'>;

/** Reads certificate and key, where they are set. @throws KilnError CONFIG_INVALID for what no server could use */
export async function readTlsIdentity(config: TlsConfig): Promise<TlsIdentity | null> {
  const { KILN_TLS_CERT, KILN_TLS_KEY } = config;
  if (KILN_TLS_CERT === undefined && KILN_TLS_KEY === undefined) return null;
  if (KILN_TLS_CERT === undefined || KILN_TLS_KEY === undefined)
    throw new KilnError('CONFIG_INVALID', 'KILN_TLS_CERT and KILN_TLS_KEY are set together or not at all.');
  const identity = {
    cert: await read('KILN_TLS_CERT', KILN_TLS_CERT),
    key: await read('KILN_TLS_KEY', KILN_TLS_KEY),
  };
  try {
    createSecureContext(identity);
    return identity;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const message = `KILN_TLS_CERT and KILN_TLS_KEY are no certificate and its key, in PEM and without a password (${why}).`;
    throw new KilnError('CONFIG_INVALID', message);
  }
}

/**
 * The certificates of `KILN_CA_CERTS`, each in PEM.
 * @throws KilnError CONFIG_INVALID where the file holds anything else
 */
export async function readAuthorities({ KILN_CA_CERTS }: Pick<Config, 'KILN_CA_CERTS'>): Promise<string[]> {
  if (KILN_CA_CERTS === undefined) return [];
  const text = (await read('KILN_CA_CERTS', KILN_CA_CERTS)).toString('latin1');
  const found = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  const invalid = (why: string): KilnError =>
    new KilnError('CONFIG_INVALID', `KILN_CA_CERTS: ${KILN_CA_CERTS} ${why}.`);
  if (found.length === 0) throw invalid('holds no certificate in PEM');
  if (text.includes('PRIVATE KEY')) throw invalid('holds a private key, which no VM may see');
  return found.map((pem, index) => {
    try {
      const certificate = new X509Certificate(pem);
      if (certificate.ca) return certificate.toString();
    } catch {
      throw invalid(`holds a certificate that cannot be read, the ${index + 1}. of it`);
    }
    throw invalid(`holds a certificate that is no authority's, the ${index + 1}. of it`);
  });
}

async function read(setting: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new KilnError('CONFIG_INVALID', `${setting} cannot be read: ${why}.`);
  }
}
