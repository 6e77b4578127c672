import type { GuestFile } from './guest-file.ts';

const directory = '/usr/local/share/ca-certificates/kiln';

/** Where Debian's update-ca-certificates(8) finds them; a file holds one certificate, as it wants it. */
export function authorityFiles(authorities: readonly string[]): GuestFile[] {
  return authorities.map((pem, number) => {
    return { path: `${directory}/${number}.crt`, mode: 0o644, content: Buffer.from(pem) };
  });
}

/** Makes the VM's own programs trust them: buildkitd, and the git that it runs. Steps have the authorities of their image. */
export const trustAuthorities = `if [ -d ${directory} ]; then update-ca-certificates; fi`;
