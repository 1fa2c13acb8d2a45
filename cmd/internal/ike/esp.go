// SPDX-License-Identifier: Apache-2.0

package ike

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"dmvpn/loader/esp"
	"dmvpn/loader/underlay"
)

const (
	udpEncap     = 100 // UDP_ENCAP
	encapESPinIP = 2   // UDP_ENCAP_ESPINUDP
)

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

// SendSegments implements pump.Segments.
func (k *IKE) SendSegments(p *esp.Path, tos uint8, size int, b []byte) error {
	s := k.sockets
	s.mu.RLock()
	sockets := s.find(p.Local.Addr())
	s.mu.RUnlock()
	switch {
	case sockets == nil, !p.Encapsulation && sockets.esp == nil:
		return fmt.Errorf("esp: no socket on %s", p.Local)
	case !p.Encapsulation:
		return sockets.esp.SendSegments(p.Local.Addr(), p.Remote.Addr(), tos, size, b)
	}
	err := sockets.of(p.Local.Port()).SendSegments(p.Local, p.Remote, tos, size, b)
	if err == nil {
		s.espInUDP.Add(uint64((len(b) + size - 1) / size))
	}
	return err
}

// counters sums those of the UDP sockets that are open.
func (s *sockets) counters() underlay.UDPCounters {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var sum underlay.UDPCounters
	for _, p := range s.open {
		for _, u := range p.udp() {
			c := u.Counters()
			sum.IKE += c.IKE
			sum.ESP += c.ESP
			sum.Keepalives += c.Keepalives
			sum.Garbage += c.Garbage
			sum.Truncated += c.Truncated
			sum.Overflow += c.Overflow
			sum.TooBig += c.TooBig
		}
	}
	return sum
}

// countESP adds the counters of ESP by kind: those of sockets that are closed are gone.
func (s *sockets) countESP(all map[string]uint64, u underlay.UDPCounters) {
	all["esp-udp-received"], all["esp-udp-sent"], all["esp-udp-too-big"] = u.ESP, s.espInUDP.Load(), u.TooBig
	var sum underlay.ESPCounters
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, p := range s.open {
		if p.esp == nil {
			continue
		}
		c := p.esp.Counters()
		sum.Received += c.Received
		sum.Sent += c.Sent
		sum.TooBig += c.TooBig
		all["socket-garbage"] += c.Garbage
		all["socket-truncated"] += c.Truncated
		all["socket-overflows"] += uint64(c.Overflow)
	}
	all["esp-raw-received"], all["esp-raw-sent"], all["esp-raw-too-big"] = sum.Received, sum.Sent, sum.TooBig
}
