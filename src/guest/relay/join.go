package main

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
)

// join carries bytes both ways until both have ended, or one was cut. It holds nothing of them itself: what is not taken waits
// where it came from.
func join(connection *net.TCPConn, stream *net.UnixConn) {
	var sentAll atomic.Bool
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if _, err := io.Copy(stream, connection); err != nil {
			cut(connection, stream)
			return
		}
		sentAll.Store(true)
		stream.CloseWrite()
	}()
	_, err := io.Copy(connection, stream)
	// Kiln ends only its own half while it still takes what comes; before that, both halves ended are a connection that was lost.
	if err != nil || (isClosed(stream) && !sentAll.Load()) {
		cut(connection, stream)
	} else {
		connection.CloseWrite()
	}
	<-sent
	connection.Close()
	stream.Close()
}

// cut ends both ways at once, as a reset does.
func cut(connection *net.TCPConn, stream *net.UnixConn) {
	reset(connection)
	stream.Close()
}

func reset(connection *net.TCPConn) {
	connection.SetLinger(0)
	connection.Close()
}

// isClosed tells whether the other end takes nothing more. To send nothing fails then, and does nothing else.
func isClosed(stream *net.UnixConn) bool {
	raw, err := stream.SyscallConn()
	if err != nil {
		return true
	}
	closed := false
	controlErr := raw.Control(func(socket uintptr) {
		_, err := syscall.SendmsgN(int(socket), nil, nil, nil, syscall.MSG_NOSIGNAL)
		closed = errors.Is(err, syscall.EPIPE)
	})
	return closed || controlErr != nil
}
