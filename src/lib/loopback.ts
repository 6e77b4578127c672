/** Whether a host, by name or IP address, is this machine itself and nothing that others reach. */
export function isLoopback(host: string): boolean {
  // Sockets that serve both families show IPv4 addresses as ::ffff:127.0.0.1.
  return host === 'localhost' || host === '::1' || /^(::ffff:)?127\.\d+\.\d+\.\d+$/.test(host);
}
