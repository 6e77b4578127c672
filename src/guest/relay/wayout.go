package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// connectLimit is how long Linux itself would try to connect.
const connectLimit = 130 * time.Second

// wayOut is the socket whose other end is kiln. It is there while kiln holds its ssh connection to this guest.
type wayOut struct{ socket string }

// connect asks kiln for a connection to destination. Kiln says `ok` once it has one; that it was refused, by whomever, the
// end of the stream says.
func (out wayOut) connect(destination netip.AddrPort) (*net.UnixConn, error) {
	stream, err := out.open(fmt.Sprintf("tcp %s\n", destination))
	if err != nil {
		return nil, err
	}
	var answer [3]byte
	stream.SetReadDeadline(time.Now().Add(connectLimit))
	_, err = io.ReadFull(stream, answer[:])
	if err == nil && string(answer[:]) != "ok\n" {
		err = errors.New("not the answer of kiln")
	}
	if err != nil {
		stream.Close()
		return nil, err
	}
	stream.SetReadDeadline(time.Time{})
	return stream, nil
}

// open makes a stream to kiln that begins with this line.
func (out wayOut) open(line string) (*net.UnixConn, error) {
	address := &net.UnixAddr{Net: "unix", Name: out.socket}
	stream, err := net.DialUnix("unix", nil, address)
	for deadline := time.Now().Add(connectLimit); errors.Is(err, syscall.EAGAIN) && time.Now().Before(deadline); {
		// sshd has not yet accepted those that came before.
		time.Sleep(5 * time.Millisecond)
		stream, err = net.DialUnix("unix", nil, address)
	}
	if err != nil {
		return nil, err
	}
	if _, err := stream.Write([]byte(line)); err != nil {
		stream.Close()
		return nil, err
	}
	return stream, nil
}
