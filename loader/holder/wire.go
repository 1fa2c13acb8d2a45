// SPDX-License-Identifier: Apache-2.0

package holder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Requests and answers go by a SOCK_SEQPACKET socket: one JSON object a packet,
// with at most one descriptor beside it.
const maxMessage = 64 << 10

type verb string

const (
	verbPut  verb = "put"
	verbGet  verb = "get"
	verbDrop verb = "drop"
	verbList verb = "list"
	verbStop verb = "stop"
)

type request struct {
	Verb verb   `json:"verb"`
	Name string `json:"name,omitempty"`
}

type answer struct {
	Error  string   `json:"error,omitempty"`
	Absent bool     `json:"absent,omitempty"`
	Names  []string `json:"names,omitempty"`
}

// send sends the message, with the file's descriptor where there is a file.
func send(c *net.UnixConn, message any, f *os.File) error {
	b, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(b) > maxMessage {
		return fmt.Errorf("message of %d octets is too long", len(b))
	}
	if f == nil {
		_, _, err = c.WriteMsgUnix(b, nil, nil)
		return err
	}
	return control(f, func(fd int) error {
		_, _, err := c.WriteMsgUnix(b, unix.UnixRights(fd), nil)
		return err
	})
}

// control runs fn with the descriptor, which stays non-blocking, as it would not
// after Fd().
func control(c syscall.Conn, fn func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) { inner = fn(int(fd)) })
	return errors.Join(err, inner)
}

// receive receives a message, and the descriptor that came with it or -1. The
// end of the connection is io.EOF.
func receive(c *net.UnixConn, message any) (fd int, err error) {
	b := make([]byte, maxMessage)
	rights := make([]byte, unix.CmsgSpace(8*4))
	n, nc, _, _, err := c.ReadMsgUnix(b, rights)
	if err != nil {
		return -1, err
	}
	fd, err = onlyDescriptor(rights[:nc])
	if err != nil {
		return -1, err
	}
	if n == 0 {
		err = io.EOF
	} else {
		err = json.Unmarshal(b[:n], message)
	}
	if err != nil && fd >= 0 {
		_ = unix.Close(fd)
		fd = -1
	}
	return fd, err
}

// onlyDescriptor gives the first descriptor and closes the others, -1 if there
// is none.
func onlyDescriptor(rights []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return -1, err
	}
	first := -1
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if first < 0 {
				first = fd
				unix.CloseOnExec(fd)
			} else {
				_ = unix.Close(fd)
			}
		}
	}
	return first, nil
}

// peerUID gives the user at the other end.
func peerUID(c *net.UnixConn) (uint32, error) {
	var credentials *unix.Ucred
	err := control(c, func(fd int) (err error) {
		credentials, err = unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		return err
	})
	if err != nil {
		return 0, err
	}
	return credentials.Uid, nil
}
