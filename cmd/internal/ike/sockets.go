// SPDX-License-Identifier: Apache-2.0

package ike

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"dmvpn/ikev2"
	"dmvpn/ikev2/sa"
	"dmvpn/loader/underlay"
)

// Ports of IKE (RFC 7296, section 2.23).
const (
	Port     = 500
	PortNATT = 4500
)

const (
	batch    = 16 // messages of the kernel's that are read at once
	rawBatch = 64 // of those that it does not merge
)

// Endpoint is where sockets are bound.
type Endpoint struct {
	Address netip.Addr // the unspecified one: all of its family that the device or the machine has
	Device  string     // "": any
	Index   int        // of the device, to tell it from another one of its name; 0: there is none
	Mark    uint32
}

// sockets are the pairs of all endpoints. They are the service's Sender.
type sockets struct {
	kernelESP bool
	workers   int
	esp       func(worker int) Receiver
	raw       RawSockets
	filter    func() (underlay.Filter, error)
	tooBig    func(underlay.Hint)
	failed    func(error)
	log       zerolog.Logger
	service   *ikev2.Service
	readers   sync.WaitGroup
	espInUDP  atomic.Uint64 // packets that were sent

	mu   sync.RWMutex
	open map[Endpoint]*pair
}

// pair is the two ports of an endpoint, and the socket of ESP without UDP.
type pair struct {
	users int
	ike   *underlay.UDPConn
	natt  []*underlay.UDPConn // one for each worker
	esp   *underlay.ESPConn   // nil: none
}

// udp gives all sockets of UDP.
func (p *pair) udp() []*underlay.UDPConn { return append([]*underlay.UDPConn{p.ike}, p.natt...) }

func newSockets(c Config) *sockets {
	return &sockets{kernelESP: c.KernelESP, workers: max(c.Workers, 1), esp: c.ESP, raw: c.Raw, filter: c.Filter, tooBig: c.TooBig, failed: c.Failed, log: c.Log, open: map[Endpoint]*pair{}}
}

// Listen opens the sockets of an endpoint, or counts one more use of them.
func (k *IKE) Listen(at Endpoint) error {
	s := k.sockets
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.open[at]; p != nil {
		p.users++
		return nil
	}
	p, err := s.openPair(at)
	if err != nil {
		return fmt.Errorf("ike: %w", err)
	}
	s.open[at] = p
	s.readers.Go(func() { s.read(p.ike, batch, 0) })
	for worker, c := range p.natt {
		s.readers.Go(func() { s.read(c, batch, worker) })
	}
	if p.esp != nil {
		// Each raw socket would get a copy of everything: one reader.
		s.readers.Go(func() { s.read(p.esp, rawBatch, 0) })
	}
	return nil
}

// Unlisten ends one use of an endpoint; after the last one the sockets are closed.
func (k *IKE) Unlisten(at Endpoint) error {
	s := k.sockets
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.open[at]
	if p == nil {
		return nil
	}
	if p.users--; p.users > 0 {
		return nil
	}
	delete(s.open, at)
	return s.closePair(at, p)
}

func (s *sockets) openPair(at Endpoint) (p *pair, err error) {
	p = &pair{users: 1}
	c := underlay.UDPConfig{Local: netip.AddrPortFrom(at.Address, Port), Device: at.Device, Mark: at.Mark}
	if p.ike, err = underlay.OpenUDP(c); err != nil {
		return nil, err
	}
	c.Local, c.Encapsulation = netip.AddrPortFrom(at.Address, PortNATT), true
	if p.natt, err = underlay.OpenUDPs(c, s.workers); err != nil {
		return nil, errors.Join(err, p.ike.Close())
	}
	if s.raw != nil {
		p.esp, err = s.raw.OpenESP(at)
	}
	for _, n := range p.natt {
		if err == nil && s.kernelESP {
			err = takeESP(n.File())
		}
	}
	if err == nil {
		err = s.judge(p)
	}
	if err != nil {
		return nil, errors.Join(err, s.closePair(at, p))
	}
	return p, nil
}

// judge puts the filter at the sockets that ESP comes to.
func (s *sockets) judge(p *pair) error {
	if s.filter == nil {
		return nil
	}
	f, err := s.filter()
	for _, n := range p.natt {
		if err == nil {
			err = n.SetFilter(f)
		}
	}
	if err == nil && p.esp != nil {
		err = p.esp.SetFilter(f)
	}
	return err
}

func (s *sockets) closePair(at Endpoint, p *pair) error {
	err := p.close()
	if p.esp != nil {
		err = errors.Join(err, s.raw.CloseESP(at, p.esp))
	}
	return err
}

// close closes the sockets of UDP.
func (p *pair) close() (err error) {
	for _, c := range p.udp() {
		err = errors.Join(err, c.Close())
	}
	return err
}

// conn is what is read.
type conn interface {
	ReadBatches(b *underlay.Batch, take func() bool) error
	Local() netip.AddrPort
}

// read gives the service what arrives, until the socket is closed; n messages of the
// kernel's at once.
func (s *sockets) read(c conn, n, worker int) {
	b := underlay.NewBatch(n)
	var packets Receiver
	if s.esp != nil {
		packets = s.esp(worker)
	}
	take := func() bool {
		s.distribute(b.Datagrams, packets)
		for _, h := range b.Hints {
			s.take(h)
		}
		return true
	}
	if err := c.ReadBatches(b, take); !errors.Is(err, os.ErrClosed) {
		s.failed(fmt.Errorf("ike: socket on %s: %w", c.Local(), err))
	}
}

// take takes what ICMP says of something that was sent.
func (s *sockets) take(h underlay.Hint) {
	switch {
	case h.Err == unix.EMSGSIZE:
		if s.tooBig != nil {
			s.tooBig(h)
		}
	case h.Remote.Port() == 0: // ESP without UDP
		s.service.Hint(&sa.Unreachable{Local: netip.AddrPortFrom(h.Local.Addr(), Port), Remote: netip.AddrPortFrom(h.Remote.Addr(), Port)})
	default:
		s.service.Hint(&sa.Unreachable{Local: h.Local, Remote: h.Remote})
	}
}

// distribute hands IKE to the service, and ESP to whoever takes it.
func (s *sockets) distribute(all []underlay.Datagram, packets Receiver) {
	if packets != nil {
		packets.Begin(time.Now())
		defer packets.End()
	}
	for _, d := range all {
		switch {
		case d.Kind == underlay.IKE:
			s.service.Deliver(d.Local, d.Remote, d.Data)
		case d.Kind == underlay.ESP && packets != nil:
			packets.Open(d.Data, d.TOS, d.Local, d.Remote)
		}
	}
}

// Send implements ikev2.Sender.
func (s *sockets) Send(local, remote netip.AddrPort, message []byte) error {
	return s.send(local, remote, local.Port() != Port, message)
}

// Keepalive implements ikev2.Sender.
func (s *sockets) Keepalive(local, remote netip.AddrPort) error {
	return s.send(local, remote, false, []byte{0xFF})
}

func (s *sockets) send(local, remote netip.AddrPort, marker bool, b []byte) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p := s.find(local.Addr())
	if p == nil {
		return fmt.Errorf("ike: no socket on %s", local)
	}
	return p.of(local.Port()).Send(local, remote, marker, b)
}

// Source implements ikev2.Sender: the kernel's choice, by the endpoint that is bound
// to all addresses.
func (s *sockets) Source(remote netip.Addr) (netip.Addr, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for at := range s.open {
		if at.Address.IsUnspecified() && at.Address.Is4() == remote.Is4() {
			return source(at, remote)
		}
	}
	return netip.Addr{}, errors.New("ike: no socket is bound to all addresses of that family")
}

// Source gives the address that packets to a peer leave from.
func (k *IKE) Source(remote netip.Addr) (netip.Addr, error) { return k.sockets.Source(remote) }

// source connects a datagram socket, which sends nothing.
func source(at Endpoint, remote netip.Addr) (netip.Addr, error) {
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var set error
		err := raw.Control(func(fd uintptr) {
			if at.Device != "" {
				set = unix.BindToDevice(int(fd), at.Device)
			}
			if at.Mark != 0 {
				set = errors.Join(set, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(at.Mark)))
			}
		})
		return errors.Join(err, set)
	}}
	c, err := d.Dial("udp", netip.AddrPortFrom(remote, Port).String())
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

// find gives the sockets of a local address: those that are bound to it, else to all; any
// where the address is unspecified. nil: there are none.
func (s *sockets) find(local netip.Addr) (found *pair) {
	for at, p := range s.open {
		switch {
		case at.Address == local:
			return p
		case (at.Address.IsUnspecified() || local.IsUnspecified()) && at.Address.Is4() == local.Is4():
			found = p
		}
	}
	return found
}

func (p *pair) of(port uint16) *underlay.UDPConn {
	if port == Port {
		return p.ike
	}
	return p.natt[0]
}

// close closes all sockets and waits for their readers.
func (s *sockets) close() {
	s.mu.Lock()
	for at, p := range s.open {
		err := p.close()
		if p.esp != nil {
			err = errors.Join(err, p.esp.Close())
		}
		if err != nil {
			s.log.Warn().Err(err).Msg("IKE socket")
		}
		delete(s.open, at)
	}
	s.mu.Unlock()
	s.readers.Wait()
}
