package main

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"time"
)

const (
	connectDeadline = 20 * time.Second
	// How long a registry may take nothing of what is sent to it.
	stallDeadline = 60 * time.Second
)

var loopbackAllowed = []netip.Prefix{netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fe80::/10")}

// Sends each request once: it is tried again by whoever runs this. A registry that is silent for longer than told has broken off.
func newHTTPClient(silence time.Duration) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	dialer := net.Dialer{Timeout: connectDeadline}
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		connection, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return impatient{connection, silence}, nil
	}
	transport.ResponseHeaderTimeout = silence
	return &http.Client{Transport: watchful{transport}}
}

// A connection on which nothing is waited for endlessly, neither what is to be written nor the rest of an answer.
type impatient struct {
	net.Conn
	silence time.Duration
}

func (c impatient) Write(bytes []byte) (int, error) {
	c.SetWriteDeadline(time.Now().Add(stallDeadline))
	// A registry says nothing while it is sent a layer: that read waits already.
	c.SetReadDeadline(time.Now().Add(c.silence))
	return c.Conn.Write(bytes)
}

func (c impatient) Read(into []byte) (int, error) {
	c.SetReadDeadline(time.Now().Add(c.silence))
	return c.Conn.Read(into)
}

// Notes when a registry that has too much to do wants to be asked again.
type watchful struct{ http.RoundTripper }

func (w watchful) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := w.RoundTripper.RoundTrip(request)
	if err == nil && response.StatusCode >= 400 {
		retryAfter.Store(response.Header.Get("Retry-After"))
	}
	return response, err
}
