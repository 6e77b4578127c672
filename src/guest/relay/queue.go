package main

import (
	"encoding/binary"
	"errors"
	"syscall"
)

// Messages and attributes: linux/netfilter/nfnetlink_queue.h. Numbers in attributes are big-endian.
const (
	netlinkNetfilter = 12
	subsystemQueue   = 3 << 8
	messagePacket    = subsystemQueue | 0
	messageVerdict   = subsystemQueue | 1
	messageConfig    = subsystemQueue | 2

	configCommand   = 1
	configParams    = 2
	configMaxLength = 3
	commandBind     = 1
	copyPacket      = 2

	attributePacketHeader  = 1
	attributeVerdictHeader = 2
	attributeMark          = 3
	attributePayload       = 10

	verdictDrop   = 0
	verdictAccept = 1

	messageHeaderLength = 16
	familyHeaderLength  = 4
	attributeAlignment  = 4
)

const (
	// headersLength is what is read of each packet: the longest headers of IPv4 and TCP.
	headersLength = 120
	// maxQueued packets wait in the kernel; those beyond are dropped, and sent again by whoever connects.
	maxQueued = 8192
	// receiveBuffer holds what has not been read yet, in bytes.
	receiveBuffer = 8 << 20
)

// queue is a netfilter queue: packets that wait for a verdict.
type queue struct {
	socket int
	number uint16
}

func openQueue(number uint16) (*queue, error) {
	socket, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, netlinkNetfilter)
	if err != nil {
		return nil, err
	}
	q := &queue{socket, number}
	if err := q.setUp(); err != nil {
		syscall.Close(socket)
		return nil, err
	}
	return q, nil
}

func (q *queue) setUp() error {
	if err := syscall.Bind(q.socket, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return err
	}
	if err := syscall.SetsockoptInt(q.socket, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, receiveBuffer); err != nil {
		return err
	}
	params := append(binary.BigEndian.AppendUint32(nil, headersLength), copyPacket)
	for _, attribute := range [][]byte{
		netlinkAttribute(configCommand, []byte{commandBind, 0, 0, syscall.AF_INET}),
		netlinkAttribute(configParams, params),
		netlinkAttribute(configMaxLength, binary.BigEndian.AppendUint32(nil, maxQueued)),
	} {
		if err := q.configure(attribute); err != nil {
			return err
		}
	}
	return nil
}

// configure sends one setting and waits until the kernel has taken it.
func (q *queue) configure(attribute []byte) error {
	if err := q.send(messageConfig, syscall.NLM_F_ACK, attribute); err != nil {
		return err
	}
	var buffer [4096]byte
	for {
		messages, err := q.read(buffer[:])
		if err != nil {
			return err
		}
		for _, message := range messages {
			if message.Header.Type == syscall.NLMSG_ERROR {
				return errorOf(message)
			}
		}
	}
}

// receive calls handle with each packet that is to get a verdict, one after the other, until the queue fails.
func (q *queue) receive(handle func(id uint32, packet []byte)) error {
	buffer := make([]byte, 1<<16)
	for {
		messages, err := q.read(buffer)
		if err != nil {
			return err
		}
		for _, message := range messages {
			// Errors are of verdicts on packets that are gone.
			if message.Header.Type != messagePacket || len(message.Data) < familyHeaderLength {
				continue
			}
			if id, packet, ok := parsePacket(message.Data[familyHeaderLength:]); ok {
				handle(id, packet)
			}
		}
	}
}

// accept lets a packet go on, with this mark.
func (q *queue) accept(id uint32, mark uint32) {
	q.decide(id, verdictAccept, netlinkAttribute(attributeMark, binary.BigEndian.AppendUint32(nil, mark)))
}

func (q *queue) drop(id uint32) { q.decide(id, verdictDrop, nil) }

// decide cannot fail in a way that could be mended: a packet without a verdict is one that was lost, and is sent again.
func (q *queue) decide(id uint32, verdict uint32, more []byte) {
	header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, verdict), id)
	q.send(messageVerdict, 0, append(netlinkAttribute(attributeVerdictHeader, header), more...))
}

func (q *queue) send(kind uint16, flags uint16, attributes []byte) error {
	length := uint32(messageHeaderLength + familyHeaderLength + len(attributes))
	message := binary.NativeEndian.AppendUint32(nil, length)
	message = binary.NativeEndian.AppendUint16(message, kind)
	message = binary.NativeEndian.AppendUint16(message, syscall.NLM_F_REQUEST|flags)
	message = append(message, make([]byte, 8)...)
	message = append(message, syscall.AF_UNSPEC, 0)
	message = binary.BigEndian.AppendUint16(message, q.number)
	return syscall.Sendto(q.socket, append(message, attributes...), 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK})
}

func (q *queue) read(buffer []byte) ([]syscall.NetlinkMessage, error) {
	for {
		n, _, err := syscall.Recvfrom(q.socket, buffer, 0)
		// ENOBUFS: more packets came than there was room for; those are sent again.
		if errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.ENOBUFS) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return syscall.ParseNetlinkMessage(buffer[:n])
	}
}

func errorOf(message syscall.NetlinkMessage) error {
	if len(message.Data) < 4 {
		return errors.New("short netlink error")
	}
	if code := int32(binary.NativeEndian.Uint32(message.Data)); code != 0 {
		return syscall.Errno(-code)
	}
	return nil
}

func parsePacket(attributes []byte) (id uint32, packet []byte, ok bool) {
	for len(attributes) >= attributeAlignment {
		length := int(binary.NativeEndian.Uint16(attributes))
		if length < attributeAlignment || length > len(attributes) {
			break
		}
		value := attributes[attributeAlignment:length]
		switch binary.NativeEndian.Uint16(attributes[2:]) & 0x3fff {
		case attributePacketHeader:
			if len(value) >= 4 {
				id, ok = binary.BigEndian.Uint32(value), true
			}
		case attributePayload:
			packet = value
		}
		attributes = attributes[min(align(length), len(attributes)):]
	}
	return id, packet, ok
}

func netlinkAttribute(kind uint16, value []byte) []byte {
	length := attributeAlignment + len(value)
	attribute := binary.NativeEndian.AppendUint16(nil, uint16(length))
	attribute = binary.NativeEndian.AppendUint16(attribute, kind)
	attribute = append(attribute, value...)
	return append(attribute, make([]byte, align(length)-length)...)
}

func align(length int) int { return (length + attributeAlignment - 1) &^ (attributeAlignment - 1) }
