// SPDX-License-Identifier: Apache-2.0

package vici

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// The types of packets.
const (
	cmdRequest = iota
	cmdResponse
	cmdUnknown
	eventRegister
	eventUnregister
	eventConfirm
	eventUnknown
	event
)

const maxPacket = 512 << 10

// Call asks the charon at a socket one thing, waits at most so long, and gives its
// answer. Of events named stream, which the command makes, it gives all. An answer
// with success=no is an error with charon's words.
func Call(socket, command string, arguments Message, stream string, wait time.Duration) (Message, []Message, error) {
	conn, err := net.DialTimeout("unix", socket, wait)
	if err != nil {
		return nil, nil, fmt.Errorf("vici: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return nil, nil, fmt.Errorf("vici: %w", err)
	}
	answer, events, err := call(conn, command, arguments, stream)
	if err != nil {
		return nil, nil, fmt.Errorf("vici: %s: %w", command, err)
	}
	return answer, events, nil
}

func call(conn io.ReadWriter, command string, arguments Message, stream string) (Message, []Message, error) {
	if stream != "" {
		if err := send(conn, eventRegister, stream, nil); err != nil {
			return nil, nil, err
		}
		if kind, _, err := receive(conn); err != nil || kind != eventConfirm {
			return nil, nil, fmt.Errorf("events %s: packet of type %d: %w", stream, kind, err)
		}
	}
	if err := send(conn, cmdRequest, command, arguments); err != nil {
		return nil, nil, err
	}
	var events []Message
	for {
		kind, m, err := receive(conn)
		switch {
		case err != nil:
			return nil, nil, err
		case kind == event:
			events = append(events, m)
		case kind != cmdResponse:
			return nil, nil, fmt.Errorf("packet of type %d in answer", kind)
		case m.Text("success") == "no":
			return nil, nil, fmt.Errorf("charon says: %s", m.Text("errmsg"))
		default:
			return m, events, nil
		}
	}
}

func send(w io.Writer, kind byte, name string, m Message) error {
	b := append([]byte{0, 0, 0, 0, kind, byte(len(name))}, name...)
	b, err := m.appendTo(b)
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	_, err = w.Write(b)
	return err
}

// receive gives a packet; of an event, which has a name, without it.
func receive(r io.Reader) (byte, Message, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > maxPacket {
		return 0, nil, fmt.Errorf("a packet of %d octets", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, nil, err
	}
	kind := b[0]
	if b = b[1:]; kind == event {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return 0, nil, errShort
		}
		b = b[1+b[0]:]
	}
	m, _, err := parse(b, false)
	return kind, m, err
}
