package main

import (
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// admittedMark marks the first packet of a connection that kiln has made. The bits below are its number, which the accepted
	// socket shows again (net.ipv4.tcp_fwmark_accept): so each finds its own stream, whatever was done to its addresses.
	admittedMark = 1 << 30
	numberMask   = admittedMark - 1
	// refusedMark is that of all others: the rules answer them as a closed port would.
	refusedMark = 0

	// maxConnecting connections are being made at once; those beyond wait. Connections that are made are not counted: each costs
	// little, and kiln bounds the bytes of all.
	maxConnecting = 512
	// maxWaiting connections wait for a verdict; the packets of further ones are dropped, and sent again by whoever connects.
	maxWaiting = 4096
	// claimLimit is how long a stream waits for the connection it was opened for, whose owner may have given up.
	claimLimit = 30 * time.Second
)

// gate lets connections begin: the first packet of each waits until kiln has connected, so that to whoever connects a port is
// open, closed or silent here as it is out there.
type gate struct {
	out        wayOut
	queue      *queue
	connecting chan struct{}

	mutex sync.Mutex
	// crossings by their first packet, while that may come again, and by number, once they are admitted.
	bySyn      map[syn]*crossing
	byNumber   map[uint32]*crossing
	lastNumber uint32
	waiting    int
}

// crossing is a connection on its way through the gate.
type crossing struct {
	syn syn
	// mark is that of the verdict; 0 while there is none.
	mark   uint32
	stream *net.UnixConn
}

func newGate(out wayOut, queue *queue) *gate {
	return &gate{
		out: out, queue: queue,
		connecting: make(chan struct{}, maxConnecting),
		bySyn:      map[syn]*crossing{},
		byNumber:   map[uint32]*crossing{},
	}
}

// onSyn takes the first packet of a connection. It never waits.
func (g *gate) onSyn(id uint32, packet []byte) {
	first, ok := parseSyn(packet)
	if !ok {
		g.queue.drop(id)
		return
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	known := g.bySyn[first]
	switch {
	case known != nil && known.mark != 0:
		// It was lost behind the gate, or sent again while it waited here.
		g.queue.accept(id, known.mark)
	case known != nil || g.waiting >= maxWaiting:
		g.queue.drop(id)
	default:
		c := &crossing{syn: first}
		g.bySyn[first] = c
		g.waiting++
		go g.cross(c, id)
	}
}

// cross opens the stream of a connection and gives its first packet the verdict.
func (g *gate) cross(c *crossing, id uint32) {
	g.connecting <- struct{}{}
	stream, err := g.out.connect(c.syn.destination)
	<-g.connecting
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.waiting--
	if err != nil {
		delete(g.bySyn, c.syn)
		g.queue.accept(id, refusedMark)
		return
	}
	c.stream = stream
	number := g.newNumber()
	c.mark = admittedMark | number
	g.byNumber[number] = c
	g.queue.accept(id, c.mark)
	time.AfterFunc(claimLimit, func() {
		if stream := g.take(number, c); stream != nil {
			stream.Close()
		}
		g.forget(c)
	})
}

// newNumber is one that no admitted connection has. The mutex is held.
func (g *gate) newNumber() uint32 {
	for {
		g.lastNumber = (g.lastNumber + 1) & numberMask
		if g.byNumber[g.lastNumber] == nil {
			return g.lastNumber
		}
	}
}

// take gives out the stream of a connection, once; expected, where it is not nil, says of which.
func (g *gate) take(number uint32, expected *crossing) *net.UnixConn {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	c := g.byNumber[number]
	if c == nil || (expected != nil && c != expected) {
		return nil
	}
	delete(g.byNumber, number)
	return c.stream
}

// forget ends what is known of a first packet: by now no copy of it is still on its way.
func (g *gate) forget(c *crossing) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	delete(g.bySyn, c.syn)
}

// serve joins each connection that was led here with its stream.
func (g *gate) serve(listener *net.TCPListener) error {
	for {
		connection, err := listener.AcceptTCP()
		if err != nil {
			return err
		}
		mark, err := markOf(connection)
		var stream *net.UnixConn
		if err == nil && mark&admittedMark != 0 {
			stream = g.take(uint32(mark)&numberMask, nil)
		}
		if stream == nil {
			reset(connection)
			continue
		}
		go join(connection, stream)
	}
}

func markOf(connection *net.TCPConn) (mark int, err error) {
	raw, err := connection.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlErr := raw.Control(func(socket uintptr) {
		mark, err = syscall.GetsockoptInt(int(socket), syscall.SOL_SOCKET, syscall.SO_MARK)
	})
	if controlErr != nil {
		return 0, controlErr
	}
	return mark, err
}
