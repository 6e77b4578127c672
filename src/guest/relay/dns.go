package main

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	dnsHeaderLength = 12
	// maxTCPClients of DNS over TCP are served at once.
	maxTCPClients = 256
	// maxAsked questions of one of them wait for their answers at once.
	maxAsked = 64
	// idleLimit is how long one of them may say nothing, or take nothing.
	idleLimit = 10 * time.Second
)

// dnsServer takes the DNS of the guest, whichever server it was for.
type dnsServer struct {
	udp *net.UDPConn
	tcp *net.TCPListener
}

func listenDNS(port int) (*dnsServer, error) {
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{Port: port})
	if err != nil {
		return nil, err
	}
	// Says with each question which address it came to.
	raw, err := udp.SyscallConn()
	if err != nil {
		return nil, err
	}
	controlErr := raw.Control(func(socket uintptr) {
		err = syscall.SetsockoptInt(int(socket), syscall.IPPROTO_IP, syscall.IP_PKTINFO, 1)
	})
	if controlErr != nil || err != nil {
		return nil, net.ErrClosed
	}
	tcp, err := net.ListenTCP("tcp4", &net.TCPAddr{Port: port})
	if err != nil {
		return nil, err
	}
	return &dnsServer{udp, tcp}, nil
}

func (s *dnsServer) serve(r *resolver) error {
	ended := make(chan error)
	go func() { ended <- s.serveUDP(r) }()
	go func() { ended <- s.serveTCP(r) }()
	return <-ended
}

func (s *dnsServer) serveUDP(r *resolver) error {
	buffer := make([]byte, 1<<16)
	control := make([]byte, 256)
	for {
		n, controlLength, _, client, err := s.udp.ReadMsgUDPAddrPort(buffer, control)
		if err != nil {
			return err
		}
		if n < dnsHeaderLength {
			continue
		}
		from := sourceOf(control[:controlLength])
		message := append([]byte(nil), buffer[:n]...)
		r.ask(overUDP, message, func(answer []byte) {
			s.udp.WriteMsgUDPAddrPort(answer, from, client)
		})
	}
}

// sourceOf makes, of the address that a question came to (struct in_pktinfo, ip(7)), the one its answer leaves from: an answer
// from any other is not known to belong to it.
func sourceOf(control []byte) []byte {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for _, message := range messages {
		if message.Header.Type != syscall.IP_PKTINFO || len(message.Data) < syscall.SizeofInet4Pktinfo {
			continue
		}
		address := message.Data[8:12]
		answer := append([]byte(nil), control[:syscall.CmsgSpace(syscall.SizeofInet4Pktinfo)]...)
		info := answer[syscall.CmsgLen(0):]
		clear(info[0:4])
		copy(info[4:8], address)
		clear(info[8:12])
		return answer
	}
	return nil
}

func (s *dnsServer) serveTCP(r *resolver) error {
	room := make(chan struct{}, maxTCPClients)
	for {
		room <- struct{}{}
		client, err := s.tcp.AcceptTCP()
		if err != nil {
			return err
		}
		go func() {
			serveTCPClient(r, client)
			<-room
		}()
	}
}

// serveTCPClient answers what comes, in the order the answers come (RFC 7766), until the client ends or says nothing more.
func serveTCPClient(r *resolver, client *net.TCPConn) {
	asked := make(chan struct{}, maxAsked)
	var writing sync.Mutex
	for {
		message, err := readMessage(client)
		if err != nil {
			break
		}
		asked <- struct{}{}
		r.ask(overTCP, message, func(answer []byte) {
			// A client that takes nothing must not hold up the answers of others.
			go func() {
				writing.Lock()
				client.SetWriteDeadline(time.Now().Add(idleLimit))
				client.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
				writing.Unlock()
				<-asked
			}()
		})
	}
	for range maxAsked {
		asked <- struct{}{}
	}
	client.Close()
}

func readMessage(client *net.TCPConn) ([]byte, error) {
	client.SetReadDeadline(time.Now().Add(idleLimit))
	var length [2]byte
	if _, err := io.ReadFull(client, length[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	if len(message) < dnsHeaderLength {
		return nil, io.ErrUnexpectedEOF
	}
	_, err := io.ReadFull(client, message)
	return message, err
}

// failure is the answer SERVFAIL to a message (RFC 1035, 4.1.1): its header and its question, without which resolvers take it
// for the answer to another.
func failure(message []byte) []byte {
	const (
		response  = 0x80
		keptFlags = 0x79 // the kind of question, and that recursion is desired
		available = 0x80
		servFail  = 2
	)
	end := questionEnd(message)
	answer := append([]byte(nil), message[:end]...)
	answer[2] = response | message[2]&keptFlags
	answer[3] = available | servFail
	clear(answer[4:dnsHeaderLength])
	if end > dnsHeaderLength {
		answer[5] = 1
	}
	return answer
}

// questionEnd is where the first question of a message ends; the header's end where there is none.
func questionEnd(message []byte) int {
	const typeAndClass = 4
	at := dnsHeaderLength
	for at < len(message) && message[at] != 0 {
		at += 1 + int(message[at])
	}
	at += 1 + typeAndClass
	if at > len(message) {
		return dnsHeaderLength
	}
	return at
}
