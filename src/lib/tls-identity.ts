/** What a server proves by TLS that it is the one: its certificate, with those between it and a known authority, and its key, in PEM. */
export type TlsIdentity = { readonly cert: Buffer; readonly key: Buffer };
