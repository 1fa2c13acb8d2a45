// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// UDPConfig says where datagrams leave, and what the port is for.
type UDPConfig struct {
	// Local is our address and port. An unspecified address stands for all that the
	// device, or the machine, has: each datagram tells to which one it went.
	Local  netip.AddrPort // of IPv4 or IPv6: a socket has one family
	Device string         // bound to it, with its VRF; "": not bound
	Mark   uint32         // of what is sent; 0: none
	// Encapsulation says that the port is 4500 or does as it does: ESP and
	// keepalives, and IKE behind the non-ESP marker. Without it all is IKE.
	Encapsulation bool
	Adopt         *os.File // the socket that a holder kept; nil: one is opened

	shared bool // with others of ours, OpenUDPs
}

// UDPConn is a UDP socket of IKE, or of IKE and ESP. Send may be called together
// with ReadBatch and itself; ReadBatch by one goroutine at a time.
//
// The socket never has UDP_ENCAP: with it the kernel would keep ESP to itself.
type UDPConn struct {
	datagrams
	encapsulation bool

	fragment sync.Mutex // held while the socket may fragment
	idle     idle[outgoing]
}

// OpenUDP opens the socket or takes over the adopted one, and binds it. An
// adopted one that is bound elsewhere is closed and a new one opened. It needs
// CAP_NET_BIND_SERVICE, and CAP_NET_ADMIN for a mark.
func OpenUDP(c UDPConfig) (*UDPConn, error) {
	if !c.Local.Addr().IsValid() {
		c.Local = netip.AddrPortFrom(netip.IPv4Unspecified(), c.Local.Port())
	}
	fail := func(err error) (*UDPConn, error) {
		return nil, fmt.Errorf("underlay: UDP socket on %s: %w", c.Local, err)
	}
	if !usable(c.Local.Addr()) {
		return fail(errors.New("no address without a zone"))
	}
	f, raw, err := adoptOr(c.Adopt, func(fd int) bool { return adoptable(fd, c) }, func() (*os.File, error) { return openUDP(c) })
	if err != nil {
		return fail(err)
	}
	sort := sortIKE
	if c.Encapsulation {
		sort = Classify
	}
	return &UDPConn{encapsulation: c.Encapsulation, datagrams: datagrams{
		name: "UDP", file: f, descriptor: raw, local: c.Local, family: familyOf(c.Local.Addr()), device: c.Device, mark: c.Mark, sort: sort,
	}}, nil
}

// OpenUDPs opens n sockets that share one port: what comes from one remote endpoint comes to one
// of them, for one reader. What is sent by any leaves from the same port. The sockets are not
// adopted. Errors are as those of OpenUDP, so that of two programs on one port the second is
// refused.
func OpenUDPs(c UDPConfig, n int) (all []*UDPConn, err error) {
	c.Adopt = nil
	for len(all) < n && err == nil {
		// The first is bound alone, and then lets the others in.
		c.shared = len(all) > 0
		var u *UDPConn
		if u, err = OpenUDP(c); err == nil {
			all = append(all, u)
			if n > 1 {
				err = u.share()
			}
		}
	}
	if err == nil && n > 1 {
		err = all[0].spread(n)
	}
	if err != nil {
		for _, u := range all {
			_ = u.Close()
		}
		return nil, err
	}
	return all, nil
}

func openUDP(c UDPConfig) (*os.File, error) {
	fd, err := familyOf(c.Local.Addr()).socket(unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return nil, err
	}
	return prepared(fd, "udp "+c.Local.String(),
		func(fd int) error { return setDevice(fd, c.Device, c.Mark) },
		func(fd int) error { return setUDP(fd, c) },
		func(fd int) error {
			if !c.shared {
				return nil
			}
			return set(fd, option{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1})
		},
		func(fd int) error {
			// No SO_REUSEADDR: of two programs on one port the older would go deaf.
			err := unix.Bind(fd, systemAddress(c.Local))
			switch {
			case errors.Is(err, unix.EADDRINUSE):
				err = fmt.Errorf("%w: another program has the port (ss -unlp): stop it, or give this one an address of its own", err)
			case errors.Is(err, unix.EADDRNOTAVAIL):
				err = fmt.Errorf("%w: no device has the address yet", err)
			}
			return err
		})
}

// setUDP sets what each datagram tells, and who cuts what is too big: on port 500
// the kernel, for IKE cannot cut its first messages itself; elsewhere nobody, for
// ESP must hear of it.
func setUDP(fd int, c UDPConfig) error {
	discover, merge := unix.IP_PMTUDISC_WANT, 0
	if c.Encapsulation {
		discover, merge = unix.IP_PMTUDISC_DO, 1
	}
	f := familyOf(c.Local.Addr())
	return set(fd, option{f.level, f.hops, outerTTL}, option{f.level, f.discover, discover}, option{f.level, f.tellDestination, 1},
		option{f.level, f.tellTOS, 1}, option{f.level, f.errors, 1}, option{unix.IPPROTO_UDP, unix.UDP_GRO, merge})
}

// adoptable says whether the socket is bound as the Config asks, and makes it the
// rest.
func adoptable(fd int, c UDPConfig) bool {
	at, ok := boundAddress(fd, unix.IPPROTO_UDP, c.Device, c.Mark)
	if !ok || at != c.Local {
		return false
	}
	kind, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_ENCAP)
	return err == nil && kind == 0 && setUDP(fd, c) == nil
}

// pollerError names what the runtime's poller says: of a socket that it can poll
// only two things.
func pollerError(err error) error {
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return os.ErrClosed
	}
	return err
}

// UDPCounters count datagrams; those of a merged buffer each by itself.
type UDPCounters struct {
	IKE, ESP   uint64 // received
	Keepalives uint64 // received, and dropped as they should be
	Garbage    uint64 // received: no IKE, no ESP, or from port 0
	Truncated  uint64 // received with a part missing
	Overflow   uint32 // dropped by the kernel since the socket was opened: its buffer was full
	Sent       uint64
	TooBig     uint64 // not sent: above the path's MTU
	Failed     uint64 // not sent for another reason
}

// Counters gives them as they are now.
func (c *UDPConn) Counters() UDPCounters {
	n := &c.counters
	return UDPCounters{
		IKE: n.ike.Load(), ESP: n.esp.Load(), Keepalives: n.keepalives.Load(), Garbage: n.garbage.Load(), Truncated: n.truncated.Load(),
		Overflow: c.overflows(), Sent: n.sent.Load(), TooBig: n.tooBig.Load(), Failed: n.failed.Load(),
	}
}
