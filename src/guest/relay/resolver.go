package main

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	overUDP = 'u'
	overTCP = 't'

	// frameHeaderLength: number, `u` or `t`, length of the message.
	frameHeaderLength = 4 + 1 + 2
	// maxQuestions wait for their answers; further ones are told at once that there is none.
	maxQuestions = 4096
	// answerLimit is longer than kiln takes, and than most programs wait.
	answerLimit = 30 * time.Second
	// sendLimit is how long kiln may take no question.
	sendLimit = 5 * time.Second
)

// resolver asks kiln: all questions over one stream, which is opened by the first one, and anew after it was lost.
type resolver struct {
	out wayOut

	// opening is held by who opens the stream or writes to it.
	opening sync.Mutex
	stream  *net.UnixConn

	mutex      sync.Mutex
	lastNumber uint32
	questions  map[uint32]*question
}

type question struct {
	message []byte
	// answer is called once, with the answer.
	answer func([]byte)
	stream *net.UnixConn
}

func newResolver(out wayOut) *resolver {
	return &resolver{out: out, questions: map[uint32]*question{}}
}

// ask calls answer once: with kiln's answer, or with SERVFAIL where kiln cannot be asked. It keeps the message.
func (r *resolver) ask(kind byte, message []byte, answer func([]byte)) {
	if !r.send(kind, &question{message: message, answer: answer}) {
		answer(failure(message))
	}
}

// send tells whether the question waits for its answer now.
func (r *resolver) send(kind byte, q *question) bool {
	r.opening.Lock()
	defer r.opening.Unlock()
	stream, err := r.open()
	if err != nil {
		return false
	}
	q.stream = stream
	number, ok := r.add(q)
	if !ok {
		return false
	}
	stream.SetWriteDeadline(time.Now().Add(sendLimit))
	if _, err := stream.Write(frame(number, kind, q.message)); err != nil {
		// Its reader notices, and answers all that was asked on it.
		stream.Close()
		return true
	}
	time.AfterFunc(answerLimit, func() { r.answer(number, nil) })
	return true
}

// open returns the stream. `opening` is held.
func (r *resolver) open() (*net.UnixConn, error) {
	if r.stream != nil {
		return r.stream, nil
	}
	stream, err := r.out.open("dns\n")
	if err != nil {
		return nil, err
	}
	r.stream = stream
	go r.read(stream)
	return stream, nil
}

// read hands out answers until the stream ends; what was asked on it has failed then.
func (r *resolver) read(stream *net.UnixConn) {
	for {
		number, message, err := readFrame(stream)
		if err != nil {
			break
		}
		r.answer(number, message)
	}
	stream.Close()
	r.opening.Lock()
	if r.stream == stream {
		r.stream = nil
	}
	r.opening.Unlock()
	for _, number := range r.askedOn(stream) {
		r.answer(number, nil)
	}
}

func (r *resolver) add(q *question) (number uint32, ok bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if len(r.questions) >= maxQuestions {
		return 0, false
	}
	for ok := true; ok; _, ok = r.questions[r.lastNumber] {
		r.lastNumber++
	}
	r.questions[r.lastNumber] = q
	return r.lastNumber, true
}

// answer answers a question that still waits; without a message it has failed.
func (r *resolver) answer(number uint32, message []byte) {
	r.mutex.Lock()
	q := r.questions[number]
	delete(r.questions, number)
	r.mutex.Unlock()
	if q == nil {
		return
	}
	if message == nil {
		message = failure(q.message)
	}
	q.answer(message)
}

func (r *resolver) askedOn(stream *net.UnixConn) (numbers []uint32) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for number, q := range r.questions {
		if q.stream == stream {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

func frame(number uint32, kind byte, message []byte) []byte {
	bytes := binary.BigEndian.AppendUint32(make([]byte, 0, frameHeaderLength+len(message)), number)
	bytes = append(bytes, kind)
	bytes = binary.BigEndian.AppendUint16(bytes, uint16(len(message)))
	return append(bytes, message...)
}

func readFrame(stream io.Reader) (number uint32, message []byte, err error) {
	var header [frameHeaderLength]byte
	if _, err := io.ReadFull(stream, header[:]); err != nil {
		return 0, nil, err
	}
	message = make([]byte, binary.BigEndian.Uint16(header[5:]))
	if len(message) < dnsHeaderLength {
		return 0, nil, errors.New("an answer shorter than a header")
	}
	_, err = io.ReadFull(stream, message)
	return binary.BigEndian.Uint32(header[:]), message, err
}
