// The relay runs in the guest and leads its network to kiln: all TCP and all DNS, over one unix socket. It knows no policy and
// no names, since nothing in a guest is trusted; kiln decides, and a guest that changes this changes only what it sees itself.
//
// The rules that lead connections here are in ../programs/network.sh; their numbers are those below.
//
// What it says over the socket: ../../egress/gateway.ts.
package main

import (
	"fmt"
	"log"
	"net"
	"os"
)

const (
	// queueNumber is the netfilter queue in which the first packet of each connection waits.
	queueNumber = 61
	// connectionPort is where connections are led that kiln has made.
	connectionPort = 61380
	// dnsPort is where DNS is led, over UDP and TCP.
	dnsPort = 61353
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: relay SOCKET")
	}
	log.Fatal(run(wayOut{socket: os.Args[1]}))
}

// run serves until something fails that it cannot go on without.
func run(out wayOut) error {
	connections, err := net.ListenTCP("tcp4", &net.TCPAddr{Port: connectionPort})
	if err != nil {
		return err
	}
	dns, err := listenDNS(dnsPort)
	if err != nil {
		return err
	}
	queue, err := openQueue(queueNumber)
	if err != nil {
		return fmt.Errorf("netfilter queue %d: %w", queueNumber, err)
	}
	gate := newGate(out, queue)
	ended := make(chan error)
	go func() { ended <- queue.receive(gate.onSyn) }()
	go func() { ended <- gate.serve(connections) }()
	go func() { ended <- dns.serve(newResolver(out)) }()
	if err := notifyReady(); err != nil {
		return err
	}
	return <-ended
}

// notifyReady tells systemd (sd_notify(3)), where that started this process.
func notifyReady() error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil
	}
	connection, err := net.Dial("unixgram", socket)
	if err != nil {
		return err
	}
	defer connection.Close()
	_, err = connection.Write([]byte("READY=1"))
	return err
}
