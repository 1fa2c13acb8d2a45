// SPDX-License-Identifier: Apache-2.0

package ike

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"dmvpn/ikev2"
	"dmvpn/ikev2/sa"
	"dmvpn/loader/esp"
	"dmvpn/loader/underlay"
)

// Ports of IKE (RFC 7296, section 2.23).
const (
	Port     = 500
	PortNATT = 4500
)

const (
	batch        = 16  // messages of the kernel's that are read at once
	udpEncap     = 100 // UDP_ENCAP
	encapESPinIP = 2   // UDP_ENCAP_ESPINUDP
)

// Endpoint is where sockets are bound.
type Endpoint struct {
	Address netip.Addr // IPv4; the unspecified one: all of the device or the machine
	Device  string     // "": any
	Index   int        // of the device, to tell it from another one of its name; 0: there is none
	Mark    uint32
}

// sockets are the pairs of all endpoints. They are the service's Sender.
type sockets struct {
	kernelESP bool
	esp       func() Receiver
	failed    func(error)
	log       zerolog.Logger
	service   *ikev2.Service
	readers   sync.WaitGroup

	mu   sync.RWMutex
	open map[Endpoint]*pair
}

// pair is the two sockets of an endpoint.
type pair struct {
	users     int
	ike, natt *underlay.UDPConn
}

func newSockets(c Config) *sockets {
	return &sockets{kernelESP: c.KernelESP, esp: c.ESP, failed: c.Failed, log: c.Log, open: map[Endpoint]*pair{}}
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
	s.readers.Go(func() { s.read(p.ike) })
	s.readers.Go(func() { s.read(p.natt) })
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
	return errors.Join(p.ike.Close(), p.natt.Close())
}

func (s *sockets) openPair(at Endpoint) (p *pair, err error) {
	p = &pair{users: 1}
	c := underlay.UDPConfig{Local: netip.AddrPortFrom(at.Address, Port), Device: at.Device, Mark: at.Mark}
	if p.ike, err = underlay.OpenUDP(c); err != nil {
		return nil, err
	}
	c.Local, c.Encapsulation = netip.AddrPortFrom(at.Address, PortNATT), true
	if p.natt, err = underlay.OpenUDP(c); err != nil {
		return nil, errors.Join(err, p.ike.Close())
	}
	if s.kernelESP {
		if err := takeESP(p.natt.File()); err != nil {
			return nil, errors.Join(err, p.ike.Close(), p.natt.Close())
		}
	}
	return p, nil
}

// takeESP makes the kernel take ESP off a socket, for its own states.
func takeESP(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	if err := raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, udpEncap, encapESPinIP)
	}); err != nil {
		return err
	}
	if set != nil {
		return fmt.Errorf("UDP encapsulation by the kernel: %w", set)
	}
	return nil
}

// read gives the service what arrives, until the socket is closed.
func (s *sockets) read(c *underlay.UDPConn) {
	b := underlay.NewBatch(batch)
	var packets Receiver
	if s.esp != nil {
		packets = s.esp()
	}
	for {
		if err := c.ReadBatch(b); err != nil {
			if !errors.Is(err, os.ErrClosed) {
				s.failed(fmt.Errorf("ike: socket on %s: %w", c.Local(), err))
			}
			return
		}
		s.distribute(b.Datagrams, packets)
		for _, h := range b.Hints {
			if h.Err != unix.EMSGSIZE {
				s.service.Hint(&sa.Unreachable{Local: h.Local, Remote: h.Remote})
			}
		}
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

// SendSegments implements pump.Segments.
func (k *IKE) SendSegments(p *esp.Path, tos uint8, size int, b []byte) error {
	s := k.sockets
	s.mu.RLock()
	c := s.find(p.Local)
	s.mu.RUnlock()
	if c == nil || !p.Encapsulation {
		return fmt.Errorf("esp: no socket on %s", p.Local)
	}
	return c.SendSegments(p.Local, p.Remote, tos, size, b)
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
	c := s.find(local)
	if c == nil {
		return fmt.Errorf("ike: no socket on %s", local)
	}
	return c.Send(local, remote, marker, b)
}

// Source implements ikev2.Sender: the kernel's choice, by the endpoint that is bound
// to all addresses.
func (s *sockets) Source(remote netip.Addr) (netip.Addr, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for at := range s.open {
		if at.Address.IsUnspecified() {
			return source(at, remote)
		}
	}
	return netip.Addr{}, errors.New("ike: no socket is bound to all addresses")
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
	c, err := d.Dial("udp4", netip.AddrPortFrom(remote, Port).String())
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

// find gives the socket of a local endpoint: one that is bound to its address, else
// one that is bound to all; any one where the address is unspecified.
func (s *sockets) find(local netip.AddrPort) *underlay.UDPConn {
	var found *pair
	for at, p := range s.open {
		switch {
		case at.Address == local.Addr():
			return p.of(local.Port())
		case at.Address.IsUnspecified() || local.Addr().IsUnspecified():
			found = p
		}
	}
	if found == nil {
		return nil
	}
	return found.of(local.Port())
}

func (p *pair) of(port uint16) *underlay.UDPConn {
	if port == Port {
		return p.ike
	}
	return p.natt
}

// close closes all sockets and waits for their readers.
func (s *sockets) close() {
	s.mu.Lock()
	for at, p := range s.open {
		if err := errors.Join(p.ike.Close(), p.natt.Close()); err != nil {
			s.log.Warn().Err(err).Msg("IKE socket")
		}
		delete(s.open, at)
	}
	s.mu.Unlock()
	s.readers.Wait()
}

// counters sums those of the sockets that are open.
func (s *sockets) counters() underlay.UDPCounters {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var sum underlay.UDPCounters
	for _, p := range s.open {
		for _, c := range []underlay.UDPCounters{p.ike.Counters(), p.natt.Counters()} {
			sum.IKE += c.IKE
			sum.ESP += c.ESP
			sum.Keepalives += c.Keepalives
			sum.Garbage += c.Garbage
			sum.Truncated += c.Truncated
			sum.Overflow += c.Overflow
		}
	}
	return sum
}
