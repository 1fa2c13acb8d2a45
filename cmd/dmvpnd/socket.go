// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"dmvpn/loader/holder"
	"dmvpn/loader/kernel"
	"dmvpn/loader/pump"
	"dmvpn/loader/tables"
	"dmvpn/loader/underlay"
)

// socketKey is what a raw GRE socket is bound to. Tunnels that differ only in
// their GRE key share one.
type socketKey struct {
	local  netip.Addr
	device string
	index  int // of the device: another one may come with the same name
	mark   uint32
}

// name is the socket's in the holder.
func (k socketKey) name() string {
	return fmt.Sprintf("gre/%s/%s/%d/%d", k.local, k.device, k.index, k.mark)
}

type socket struct {
	key      socketKey
	conn     *underlay.Conn
	receiver *pump.Receiver
	users    int
	done     chan struct{} // the receiver has ended; nil: it has not begun
}

// sockets are the raw sockets of the daemon: of GRE, and of ESP.
type sockets struct {
	holder *holder.Client
	tables *tables.Tables
	failed func(error) // a receiver ended that was not asked to

	mu       sync.Mutex
	launched bool
	open     map[socketKey]*socket
	esp      map[socketKey]*underlay.ESPConn
}

// takeAll takes the sockets of the addresses of an underlay.
func (s *sockets) takeAll(u kernel.Underlay) (all []*socket, err error) {
	for _, a := range u.Addresses() {
		k, err := s.take(socketKey{a, u.Device, u.Index, u.Mark})
		if err != nil {
			return nil, errors.Join(err, s.releaseAll(all))
		}
		all = append(all, k)
	}
	return all, nil
}

func (s *sockets) releaseAll(all []*socket) (err error) {
	for _, k := range all {
		err = errors.Join(err, s.release(k))
	}
	return err
}

// take gives the socket of the key, the holder's if it has one. Nothing is read from it before read: what
// has waited in it finds its tunnel.
func (s *sockets) take(key socketKey) (*socket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.open[key]; k != nil {
		k.users++
		return k, nil
	}
	conn, err := s.adopt(key)
	if err != nil {
		return nil, err
	}
	k := &socket{key: key, conn: conn, receiver: pump.NewReceiver(conn, s.tables), users: 1}
	s.open[key] = k
	return k, nil
}

// launch reads from all sockets: every tunnel has added its pump to those that it shares.
func (s *sockets) launch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.launched = true
	for _, k := range s.open {
		s.begin(k)
	}
}

// read reads from sockets that a tunnel has added its pump to; before launch they wait for it.
func (s *sockets) read(taken []*socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range taken {
		if s.launched {
			s.begin(k)
		}
	}
}

// begin starts a socket's receiver, once. s.mu is held.
func (s *sockets) begin(k *socket) {
	if k.done != nil {
		return
	}
	done := make(chan struct{})
	k.done = done
	go func() {
		defer close(done)
		if err := k.receiver.Run(); !errors.Is(err, os.ErrClosed) {
			s.failed(fmt.Errorf("raw GRE socket of %s: %w", k.key.local, err))
		}
	}()
}

// end closes a socket and waits for its receiver.
func (k *socket) end() error {
	err := k.conn.Close()
	if k.done != nil {
		<-k.done
	}
	return err
}

func (s *sockets) adopt(key socketKey) (*underlay.Conn, error) {
	c := underlay.Config{Local: key.local, Device: key.device, Mark: key.mark}
	if f, err := s.holder.Get(key.name()); err == nil {
		c.Adopt = f
	} else if !errors.Is(err, holder.ErrAbsent) {
		return nil, err
	}
	conn, err := underlay.Open(c)
	if err != nil {
		return nil, err
	}
	if err := s.holder.Put(key.name(), conn.File()); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// release ends one use of the socket; after the last it is closed, in the holder
// too.
func (s *sockets) release(k *socket) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.users--; k.users > 0 {
		return nil
	}
	delete(s.open, k.key)
	return errors.Join(k.end(), s.holder.Drop(k.key.name()))
}

// hold gives every socket to a holder that has none.
func (s *sockets) hold() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for key, k := range s.open {
		err = errors.Join(err, s.holder.Put(key.name(), k.conn.File()))
	}
	for key, c := range s.esp {
		err = errors.Join(err, s.holder.Put(key.espName(), c.File()))
	}
	return err
}

// names are the names that the holder has the open sockets by.
func (s *sockets) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for key := range s.open {
		out = append(out, key.name())
	}
	for key := range s.esp {
		out = append(out, key.espName())
	}
	return out
}

// close closes all GRE sockets of this process; the holder keeps its own.
func (s *sockets) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, k := range s.open {
		// Nothing is buffered in a raw socket that closing could lose.
		_ = k.end()
		delete(s.open, key)
	}
}
