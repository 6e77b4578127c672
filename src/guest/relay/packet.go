package main

import (
	"encoding/binary"
	"net/netip"
)

// syn identifies the first packet of a TCP connection. A retransmitted one is equal to it; a later connection of the same
// addresses and ports has another sequence number.
type syn struct {
	source, destination netip.AddrPort
	sequence            uint32
}

const protocolTCP = 6

// parseSyn reads the headers of IPv4 (RFC 791) and TCP (RFC 9293); ok is false for anything else.
func parseSyn(packet []byte) (parsed syn, ok bool) {
	if len(packet) < 20 || packet[0]>>4 != 4 || packet[9] != protocolTCP {
		return syn{}, false
	}
	headerLength := int(packet[0]&0x0f) * 4
	if headerLength < 20 || len(packet) < headerLength+8 {
		return syn{}, false
	}
	segment := packet[headerLength:]
	return syn{
		source:      addrPort(packet[12:16], segment[0:2]),
		destination: addrPort(packet[16:20], segment[2:4]),
		sequence:    binary.BigEndian.Uint32(segment[4:8]),
	}, true
}

func addrPort(address, port []byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(address)), binary.BigEndian.Uint16(port))
}
