// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// ESPConn is a raw socket of ESP without UDP, IP protocol 50 (RFC 4303). SendSegments
// may be called together with ReadBatch and itself; ReadBatch by one goroutine at a
// time. Its endpoints have port 0.
type ESPConn struct {
	datagrams

	idle idle[outgoingESP]
}

// OpenESP opens the socket or takes over the adopted one, and binds it; an unspecified
// local address stands for all that the device, or the machine, has. An adopted one that
// is bound elsewhere is closed and a new one opened. It needs CAP_NET_RAW, and
// CAP_NET_ADMIN for a mark.
func OpenESP(c Config) (*ESPConn, error) {
	if !c.Local.IsValid() {
		c.Local = netip.IPv4Unspecified()
	}
	fail := func(err error) (*ESPConn, error) {
		return nil, fmt.Errorf("underlay: raw ESP socket on %s: %w", c.Local, err)
	}
	if !usable(c.Local) {
		return fail(errors.New("no address without a zone"))
	}
	fits := func(fd int) bool {
		at, ok := boundAddress(fd, unix.IPPROTO_ESP, c.Device, c.Mark)
		return ok && at.Addr() == c.Local && setESP(fd, familyOf(c.Local)) == nil
	}
	f, raw, err := adoptOr(c.Adopt, fits, func() (*os.File, error) { return openESP(c) })
	if err != nil {
		return fail(err)
	}
	sort := sortESP
	if c.Local.Is4() {
		sort = sortESP4
	}
	return &ESPConn{datagrams: datagrams{
		name: "raw ESP", file: f, descriptor: raw, local: netip.AddrPortFrom(c.Local, 0), family: familyOf(c.Local), device: c.Device, mark: c.Mark, raw: true, sort: sort,
	}}, nil
}

func openESP(c Config) (*os.File, error) {
	fd, err := familyOf(c.Local).rawSocket(unix.IPPROTO_ESP)
	if err != nil {
		return nil, err
	}
	return prepared(fd, "esp "+c.Local.String(),
		func(fd int) error { return setDevice(fd, c.Device, c.Mark) },
		func(fd int) error { return setESP(fd, familyOf(c.Local)) },
		func(fd int) error {
			if err := unix.Bind(fd, systemAddress(netip.AddrPortFrom(c.Local, 0))); err != nil {
				return fmt.Errorf("bind: %w", err)
			}
			return nil
		})
}

// setESP sets what each packet tells, and that nothing is fragmented.
func setESP(fd int, f *family) error {
	return set(fd, option{f.level, f.hops, outerTTL}, option{f.level, f.discover, unix.IP_PMTUDISC_DO},
		option{f.level, f.tellDestination, 1}, option{f.level, f.tellTOS, 1}, option{f.level, f.errors, 1})
}

// sortESP looks at a packet of a raw socket of IPv6, which does not give the header.
func sortESP(b []byte) (Kind, []byte) {
	if len(b) < 8 {
		return Garbage, nil
	}
	return ESP, b
}

// sortESP4 takes the IPv4 header off a packet of a raw socket.
func sortESP4(b []byte) (Kind, []byte) {
	if len(b) < 20 {
		return Garbage, nil
	}
	header, total := int(b[0]&0x0f)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < 20 || total > len(b) || total < header+8 {
		return Garbage, nil
	}
	return ESP, b[header:total]
}

// ESPCounters count packets.
type ESPCounters struct {
	Received  uint64
	Garbage   uint64 // received: too short for ESP
	Truncated uint64 // received with a part missing
	Overflow  uint32 // dropped by the kernel since the socket was opened: its buffer was full
	Sent      uint64
	TooBig    uint64 // not sent: above the path's MTU
	Failed    uint64 // not sent for another reason
}

// Counters gives them as they are now.
func (c *ESPConn) Counters() ESPCounters {
	n := &c.counters
	return ESPCounters{Received: n.esp.Load(), Garbage: n.garbage.Load(), Truncated: n.truncated.Load(), Overflow: c.overflows(),
		Sent: n.sent.Load(), TooBig: n.tooBig.Load(), Failed: n.failed.Load()}
}
