/** Where the guest's way out begins: the egress proxy, forwarded over ssh to the guest's own loopback. */
export const proxyPort = 3128;
export const proxyUrl = `http://127.0.0.1:${proxyPort}`;
