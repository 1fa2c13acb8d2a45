// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dmvpn/loader/netnstest"
)

// What comes from one endpoint comes to one socket, from its neighbours to others; whichever of
// them answers, it is from the same port. Another program is refused the port.
func TestSocketsShareAPort(t *testing.T) {
	const sockets, peers, each = 3, 9, 10
	netnstest.Enter(t)
	netnstest.Run(t, "ip link set lo up")
	at := netip.MustParseAddrPort("127.0.0.1:4500")
	config := UDPConfig{Local: at, Encapsulation: true}
	all, err := OpenUDPs(config, sockets)
	if err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func() error{
		"alone":       func() error { _, err := OpenUDP(config); return err },
		"with others": func() error { _, err := OpenUDPs(config, 2); return err },
	} {
		if err := open(); !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "another program has the port") {
			t.Errorf("a second program, %s: %v", name, err)
		}
	}
	var mu sync.Mutex
	place, used := map[netip.AddrPort]int{}, map[int]int{}
	var readers sync.WaitGroup
	for i, u := range all {
		readers.Go(func() {
			b := NewBatch(4)
			for {
				if err := u.ReadBatch(b); err != nil {
					if !errors.Is(err, os.ErrClosed) {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				for _, d := range b.Datagrams {
					if before, known := place[d.Remote]; known && before != i {
						t.Errorf("from %v something comes to socket %d and to %d", d.Remote, before, i)
					}
					place[d.Remote] = i
					used[i]++
					if err := all[(i+1)%sockets].SendSegments(d.Local, d.Remote, 0, len(d.Data), d.Data); err != nil {
						t.Error(err)
					}
				}
				mu.Unlock()
			}
		})
	}
	for n := range peers {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, byte(n / 3), 10}), uint16(5000+n%3)) // three have an address
		c, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(from), net.UDPAddrFromAddrPort(at))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		packet := bytes.Repeat([]byte{1}, 40)
		for range each {
			if _, err := c.Write(packet); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(make([]byte, 100)); err != nil || n != len(packet) { // from port 4500, or not at all
				t.Fatalf("an answer of %d octets, %v", n, err)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, u := range all {
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	}
	readers.Wait()
	if len(place) != peers || used[0] != peers*each/sockets || used[1] != used[0] || used[2] != used[0] {
		t.Errorf("%d peers, packets by socket: %v", len(place), used)
	}
}
