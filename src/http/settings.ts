import type { TlsIdentity } from '../lib/tls-identity.ts';

export type HttpSettings = {
  /** Further host names the service may be called by, without a port. */
  readonly hosts: readonly string[];
  /** Null for plain HTTP. */
  readonly tls: TlsIdentity | null;
  /** Bytes of the largest upload. */
  readonly uploadMaxBytes: number;
  /** How long an upload may send nothing, in ms. */
  readonly uploadStallMs: number;
  /** How long the headers of a request may take, in ms. */
  readonly headersMs: number;
  /** How long a client may take nothing of what is sent to it, in ms; it can come back with an offset. */
  readonly readerStallMs: number;
  /** How often a build that says nothing shows that it is alive, in ms. */
  readonly keepAliveMs: number;
};

const defaults = {
  tls: null,
  uploadStallMs: 30_000,
  headersMs: 15_000,
  readerStallMs: 60_000,
  keepAliveMs: 15_000,
};

/** What the operator decides; everything else has a default. */
export type GivenHttpSettings = Partial<HttpSettings> & Pick<HttpSettings, 'hosts' | 'uploadMaxBytes'>;

export function completeSettings(given: GivenHttpSettings): HttpSettings {
  return { ...defaults, ...given };
}

/** Bytes per second that an upload must reach on the whole. */
export const minimumUploadRate = 1024;
