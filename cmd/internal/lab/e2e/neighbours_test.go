// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// TestESPOfOthersBehindASpoke: a telephone in spoke1's LAN has IPsec of its own with a server.
// The spoke's masquerade leaves it port 4500, so that what comes back is ESP in UDP to the
// spoke's address and port, with an SPI that the spoke's daemon has never heard of. Bogus ESP
// that is for the spoke itself ends in BPF all the same.
//
//	host1 ── spoke1 ────────── internet ────────── hub ── host0
//	  4500     └ masquerade       └ server on 4500, and a stranger
func TestESPOfOthersBehindASpoke(t *testing.T) {
	t.Parallel()
	const exchanges, bogus = 200, 64
	c := guarded(t, cloud.Options{Spokes: 1})
	ctx := t.Context()
	spoke := c.Spokes[0]
	for _, rule := range [][]string{
		{"add", "table", "ip", "others"},
		{"add", "chain", "ip", "others", "post", "{ type nat hook postrouting priority srcnat; }"},
		{"add", "rule", "ip", "others", "post", "oifname", cloud.Underlay, "masquerade"},
	} {
		_, err := spoke.Run(ctx, "nft", rule...)
		check(t, err)
	}
	server := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.254"), 4500)
	genuine := onTheWireTo(t, c, spoke, cloud.NBMA(1))

	there := bindUDP(t, c.Internet, server)
	here := bindUDP(t, c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), 4500))
	b := make([]byte, 2000)
	for n := range uint32(exchanges) {
		question, answer := espLike(0x11223344, n+1), espLike(0x55667788, n+1)
		_, err := here.WriteToUDPAddrPort(question, server)
		check(t, err)
		k, from, err := there.ReadFromUDPAddrPort(b)
		if err != nil || !slices.Equal(b[:k], question) {
			t.Fatalf("question %d: %v, % x", n, err, b[:k])
		}
		if want := netip.AddrPortFrom(cloud.NBMA(1), 4500); from != want {
			t.Fatalf("the masquerade gives %v, want %v: else this shows nothing", from, want)
		}
		_, err = there.WriteToUDPAddrPort(answer, from)
		check(t, err)
		if k, err = here.Read(b); err != nil || !slices.Equal(b[:k], answer) {
			t.Fatalf("answer %d: %v, % x", n, err, b[:k])
		}
	}
	ping(t, c.Hosts[0], 0)
	if got := dropped(t, c, "spoke1"); len(got) > 0 {
		t.Errorf("the spoke has dropped %v", got)
	}

	stranger, err := c.Internet.Inject("spoke1")
	check(t, err)
	defer stranger.Close()
	before := received(t, c, "spoke1")
	var frames [][]byte
	for n := range uint32(bogus) {
		frames = append(frames, lab.Bogi[0].Frame(genuine, n))
	}
	check(t, stranger.Send(frames...))
	until(t, c, patience, func() error {
		if got := dropped(t, c, "spoke1"); got["unknown-spi"] != bogus {
			return fmt.Errorf("dropped %v, want %d of an unknown SPI", got, bogus)
		}
		return nil
	})
	// What the tunnel itself carries meanwhile is little.
	if n := received(t, c, "spoke1") - before; n >= bogus {
		t.Errorf("the daemon has received %d packets of ESP: they did not end in BPF", n)
	}
	ping(t, c.Hosts[0], 0)
}

// bindUDP opens a socket in a node.
func bindUDP(t *testing.T, n *lab.Node, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	check(t, n.Do(func() (err error) {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
		return err
	}))
	t.Cleanup(func() { _ = conn.Close() })
	check(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// espLike is what ESP looks like to who has no key.
func espLike(spi, number uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, spi)
	b = append(binary.BigEndian.AppendUint32(b, number), make([]byte, 80)...)
	_, _ = rand.Read(b[8:])
	return b
}

// received is how many packets of ESP in UDP a daemon has got to see.
func received(t *testing.T, c *cloud.Cloud, node string) (n uint64) {
	t.Helper()
	check(t, c.Ask(t.Context(), node, func(ctx context.Context, client *control.Client) error {
		all, err := client.IKE(ctx)
		n = all.Counters["esp-udp-received"]
		return err
	}))
	return n
}

// TestRawESPOfOthersAtTheSameAddress: another IPsec takes ESP without UDP at the hub's own
// address. It gets what is its own whatever the tunnel does; the daemon says something of it
// only where its tunnel has ESP without UDP too, for there it may be a peer's.
//
//	host1 ── spoke1 ────────── internet ────────── hub ── host0
//	                   other end ┘                  └ another IPsec
func TestRawESPOfOthersAtTheSameAddress(t *testing.T) {
	t.Parallel()
	const packets = 20
	for encapsulation, counted := range map[string]uint64{"udp": 0, "raw": packets} {
		t.Run(encapsulation, func(t *testing.T) {
			t.Parallel()
			c := guarded(t, cloud.Options{Spokes: 1, Settings: func(_ string, s *cloud.Settings) {
				if encapsulation == "raw" {
					s.Tunnels[0].IPsec.Lines = []string{`encapsulation = "raw"`}
				}
			}})
			told, err := c.Internet.Capture("hub", func(f lab.Frame) bool { return !f.Outgoing && isIKETo(f.Data, netip.MustParseAddr("192.0.2.254")) })
			check(t, err)
			var there, here *net.IPConn
			open := func(n *lab.Node, at netip.Addr) (conn *net.IPConn) {
				check(t, n.Do(func() (err error) {
					conn, err = net.ListenIP("ip4:50", &net.IPAddr{IP: at.AsSlice()})
					return err
				}))
				t.Cleanup(func() { _ = conn.Close() })
				check(t, conn.SetDeadline(time.Now().Add(patience)))
				return conn
			}
			there, here = open(c.Internet, netip.MustParseAddr("192.0.2.254")), open(c.Hub, cloud.HubNBMA())
			b := make([]byte, 2000)
			for n := range uint32(packets) {
				want := espLike(0x11223344, n+1)
				_, err := there.WriteToIP(want, &net.IPAddr{IP: cloud.HubNBMA().AsSlice()})
				check(t, err)
				// The tunnel's own comes by as well.
				for got := []byte(nil); !slices.Equal(got, want); {
					k, _, err := here.ReadFromIP(b)
					if err != nil {
						t.Fatalf("packet %d does not come: %v", n, err)
					}
					got = b[:k]
				}
			}
			ping(t, c.Hosts[0], 0)
			if got := dropped(t, c, "hub")["unknown-spi"]; got != counted {
				t.Errorf("%d packets are counted as unknown-spi, want %d", got, counted)
			}
			if counted > 0 {
				until(t, c, patience, func() error {
					if len(told.Frames()) == 0 {
						return fmt.Errorf("who may be a peer is not told")
					}
					return nil
				})
			} else if frames := told.Frames(); len(frames) > 0 {
				t.Errorf("the other end was told something, % x", frames[0].Data)
			}
			told.Close()
		})
	}
}

// isIKETo says whether a frame is of IKE's port 500 and goes to an address.
func isIKETo(frame []byte, to netip.Addr) bool {
	const ip, udp = 14, 14 + 20
	return len(frame) >= udp+8+28 && frame[ip+9] == 17 && netip.AddrFrom4([4]byte(frame[ip+16:udp])) == to && binary.BigEndian.Uint16(frame[udp:]) == 500
}
