import type { GuestFile } from './guest-file.ts';

const directory = '/usr/local/share/ca-certificates/kiln';

/** Where Debian has the authorities of its owner; a file holds one certificate. */
export function authorityFiles(authorities: readonly string[]): GuestFile[] {
  return authorities.map((pem, number) => {
    return { path: `${directory}/${number}.crt`, mode: 0o644, content: Buffer.from(pem) };
  });
}

/**
 * Makes the VM's own programs trust them: buildkitd, and the git that it runs. Steps have the authorities of their image. As
 * update-ca-certificates(8) does it, but for the links by hash, which take minutes under emulation and which neither looks at.
 */
export const trustAuthorities = `if [ -d ${directory} ]; then cat ${directory}/*.crt >>/etc/ssl/certs/ca-certificates.crt; fi`;
