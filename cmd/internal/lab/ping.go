// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// An Echo is the answer to a ping.
type Echo struct {
	From    netip.Addr // who answered
	Reached bool       // it is the destination; else a router where the TTL ended
	RTT     time.Duration
}

var pingID atomic.Uint32

// errNoEcho says that nobody answered in time.
var errNoEcho = errors.New("no answer")

// Ping sends one ICMP echo request with a TTL (0: the usual 64) and waits for
// the answer.
func (n *Node) Ping(to netip.Addr, ttl int, wait time.Duration) (Echo, error) {
	var conn *icmp.PacketConn
	var kind icmp.Type = ipv4.ICMPTypeEcho
	network, any := "ip4:icmp", "0.0.0.0"
	if to.Is6() {
		kind, network, any = ipv6.ICMPTypeEchoRequest, "ip6:ipv6-icmp", "::"
	}
	err := n.Do(func() (err error) {
		conn, err = icmp.ListenPacket(network, any)
		return err
	})
	if err != nil {
		return Echo{}, fmt.Errorf("node %s: ping: %w", n.Name, err)
	}
	defer conn.Close()
	if ttl > 0 {
		if err := setTTL(conn, to, ttl); err != nil {
			return Echo{}, fmt.Errorf("node %s: ping: %w", n.Name, err)
		}
	}
	id := uint16(pingID.Add(1))
	request := icmp.Message{Type: kind, Body: &icmp.Echo{ID: int(id), Seq: 1, Data: make([]byte, 32)}}
	data, err := request.Marshal(nil)
	if err != nil {
		return Echo{}, fmt.Errorf("node %s: ping: %w", n.Name, err)
	}
	began := time.Now()
	if err := conn.SetDeadline(began.Add(wait)); err != nil {
		return Echo{}, fmt.Errorf("node %s: ping: %w", n.Name, err)
	}
	if _, err := conn.WriteTo(data, &net.IPAddr{IP: to.AsSlice()}); err != nil {
		return Echo{}, fmt.Errorf("node %s: ping %v: %w", n.Name, to, err)
	}
	buf := make([]byte, 1500)
	for {
		size, from, err := conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = errNoEcho
		}
		if err != nil {
			return Echo{}, fmt.Errorf("node %s: ping %v: %w", n.Name, to, err)
		}
		reached, ours := answers(to, buf[:size], id)
		if !ours {
			continue
		}
		who, _ := netip.ParseAddr(from.String())
		return Echo{From: who, Reached: reached, RTT: time.Since(began)}, nil
	}
}

func setTTL(c *icmp.PacketConn, to netip.Addr, ttl int) error {
	if to.Is6() {
		return c.IPv6PacketConn().SetHopLimit(ttl)
	}
	return c.IPv4PacketConn().SetTTL(ttl)
}

// answers says whether an ICMP message belongs to our request: an echo reply,
// or an error that quotes it.
func answers(to netip.Addr, data []byte, id uint16) (reached, ours bool) {
	const icmp4, icmp6 = 1, 58
	protocol, header := icmp4, 20
	var reply icmp.Type = ipv4.ICMPTypeEchoReply
	if to.Is6() {
		protocol, header, reply = icmp6, 40, ipv6.ICMPTypeEchoReply
	}
	m, err := icmp.ParseMessage(protocol, data)
	if err != nil {
		return false, false
	}
	switch body := m.Body.(type) {
	case *icmp.Echo:
		return true, m.Type == reply && body.ID == int(id)
	case *icmp.TimeExceeded:
		const echoID = 4
		return false, len(body.Data) >= header+8 && binary.BigEndian.Uint16(body.Data[header+echoID:]) == id
	}
	return false, false
}

// farthest is how many hops Trace looks.
const farthest = 8

// Trace gives the routers on the way to an address, and the destination last. A
// router that does not answer stands as an invalid address. All probes leave at
// once, so that they see one path even where traffic changes it.
func (n *Node) Trace(ctx context.Context, to netip.Addr) ([]Echo, error) {
	var probes sync.WaitGroup
	echoes, errs := make([]Echo, farthest), make([]error, farthest)
	for i := range farthest {
		probes.Go(func() { echoes[i], errs[i] = n.Ping(to, i+1, 2*time.Second) })
	}
	probes.Wait()
	for i, e := range echoes {
		if errs[i] != nil && !errors.Is(errs[i], errNoEcho) {
			return nil, errs[i]
		}
		if e.Reached {
			return echoes[:i+1], nil
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return echoes, fmt.Errorf("node %s: trace to %v: not reached in %d hops", n.Name, to, farthest)
}
