import { BlockList, isIP } from 'node:net';

/**
 * Addresses a guest may not reach: everything that is not a public unicast address (IANA special-purpose registries),
 * and the IPv6 forms that carry an IPv4 address inside.
 */
const refusedRanges: readonly (readonly [address: string, prefix: number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  // Azure's metadata and host services, although the address is a public one.
  ['168.63.129.16', 32],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
];
/** All of IPv6 but global unicast (2000::/3), and within that what is special. */
const refusedRanges6: readonly (readonly [address: string, prefix: number])[] = [
  ['::', 3],
  ['4000::', 2],
  ['8000::', 1],
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
];

/** @returns Whether an address, as text, is a public one. */
export function createAddressPolicy(): (address: string) => boolean {
  // Two lists: in one, an IPv4 address would also be looked for as ::ffff:a.b.c.d, and found in ::/3.
  const refused = createBlockList(refusedRanges, 'ipv4');
  const refused6 = createBlockList(refusedRanges6, 'ipv6');
  return (address) => {
    const family = isIP(address);
    if (family === 0) return false;
    return family === 4 ? !refused.check(address, 'ipv4') : !refused6.check(address, 'ipv6');
  };
}

function createBlockList(ranges: typeof refusedRanges, family: 'ipv4' | 'ipv6'): BlockList {
  const list = new BlockList();
  for (const [address, prefix] of ranges) list.addSubnet(address, prefix, family);
  return list;
}
