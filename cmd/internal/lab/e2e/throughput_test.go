// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// iperf runs iperf3 for some seconds from one node to another's address, and
// gives bits a second, and octets, as received.
func iperf(t *testing.T, from, to *lab.Node, address netip.Addr, seconds int) (rate float64, octets uint64) {
	t.Helper()
	rate, octets, err := runIperf(t.Context(), from, to, address, seconds)
	check(t, err)
	return rate, octets
}

var servers atomic.Int32

func runIperf(ctx context.Context, from, to *lab.Node, address netip.Addr, seconds int, flags ...string) (rate float64, octets uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds+20)*time.Second)
	defer cancel()
	// Each has an output of its own: that of one before says that it listens, too.
	server, err := to.Launch(fmt.Sprint("iperf3-", servers.Add(1)), "iperf3", "-s", "-1", "--forceflush")
	if err != nil {
		return 0, 0, err
	}
	for until := time.Now().Add(patience); !strings.Contains(server.Output(), "Server listening"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			return 0, 0, fmt.Errorf("iperf3 does not listen: %s", server.Output())
		}
	}
	flags = append([]string{"-c", address.String(), "-t", fmt.Sprint(seconds), "-J", "--connect-timeout", "3000"}, flags...)
	out, err := from.Run(ctx, "iperf3", flags...)
	if err != nil {
		_ = server.Signal(os.Kill)
		return 0, 0, err
	}
	if _, err = server.Wait(ctx); err != nil {
		return 0, 0, err
	}
	var result struct {
		Error string
		End   struct {
			Received struct {
				Bits  float64 `json:"bits_per_second"`
				Bytes uint64  `json:"bytes"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err = json.Unmarshal([]byte(out), &result); err == nil && result.Error != "" {
		err = fmt.Errorf("iperf3: %s", result.Error)
	}
	return result.End.Received.Bits, result.End.Received.Bytes, err
}

// TestTCPAtFullSpeed: iperf3 with GSO, on plain veths. GSO shows in the packets
// on the underlay that are larger than its MTU; checksums in the counters of
// every node; the way in what the hub's underlay took in and sent out.
//
//	spoke1 → host0, spoke1 → hub → spoke3's host, host1 → host2 on a shortcut
func TestTCPAtFullSpeed(t *testing.T) {
	for _, m := range []mode{{}, {encrypted: true}} { // one at a time
		t.Run(m.String(), func(t *testing.T) { tcpAtFullSpeed(t, m) })
	}
}

func tcpAtFullSpeed(t *testing.T, m mode) {
	no := false
	c := build(t, cloud.Options{Spokes: 3, Protected: m.encrypted, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke3" {
			s.Tunnels[0].Shortcut = &no
		}
	}})
	if m.encrypted {
		outside, err := c.OutsideFast()
		check(t, err)
		watched(t, outside)
	}
	check(t, c.StartAll(t.Context()))
	until(t, c, patience, func() error { return c.AllRegistered(t.Context()) })
	shortcut(t, c, 1, 2)
	var mu sync.Mutex
	big := 0
	onWire, err := c.Internet.Capture("spoke1", func(f lab.Frame) bool {
		if m.isData(f) && len(f.Data) > 9000 {
			mu.Lock()
			big++
			mu.Unlock()
		}
		return false
	})
	check(t, err)
	for _, path := range []struct {
		what     string
		from, to *lab.Node
		address  netip.Addr
		in, out  bool // of the hub's underlay
	}{
		{"spoke to LAN", c.Spokes[0], c.HubHost, cloud.Host(0), true, false},
		{"spoke–hub–spoke", c.Hosts[2], c.Hosts[0], cloud.Host(1), true, true},
		{"spoke–spoke", c.Hosts[0], c.Hosts[1], cloud.Host(2), false, false},
	} {
		before, in, out := checksumErrors(t, c), octetsAtHub(t, c, "rx"), octetsAtHub(t, c, "tx")
		rate, octets := iperf(t, path.from, path.to, path.address, 2)
		in, out = octetsAtHub(t, c, "rx")-in, octetsAtHub(t, c, "tx")-out
		t.Logf("%s: %.2f Gbit/s; %d octets, at the hub %d in and %d out", path.what, rate/1e9, octets, in, out)
		if rate < 50e6 {
			t.Errorf("%s: %.1f Mbit/s", path.what, rate/1e6)
		}
		// Acknowledgements go the other way, and are a small part.
		if path.in != (in >= octets) || path.out != (out >= octets) || !path.in && in > octets/10 || !path.out && out > octets/10 {
			t.Errorf("%s: of %d octets the hub's underlay took %d in and sent %d out", path.what, octets, in, out)
		}
		if errors := checksumErrors(t, c) - before; errors != 0 {
			t.Errorf("%s: %d checksum errors", path.what, errors)
		}
	}
	onWire.Close()
	if big == 0 {
		t.Error("no packet on the underlay was larger than 9000 octets: GSO is lost")
	}
	undropped(t, c)
}

func checksumErrors(t *testing.T, c *cloud.Cloud) int64 {
	t.Helper()
	var sum int64
	for _, name := range c.Nodes() {
		n, err := c.Get(name).ChecksumErrors()
		check(t, err)
		sum += n
	}
	return sum
}

// octetsAtHub is what the hub's underlay has received ("rx") or sent ("tx").
func octetsAtHub(t *testing.T, c *cloud.Cloud, direction string) uint64 {
	t.Helper()
	link, err := c.Hub.Net.LinkByName(cloud.Underlay)
	check(t, err)
	if direction == "rx" {
		return link.Attrs().Statistics.RxBytes
	}
	return link.Attrs().Statistics.TxBytes
}

// undropped checks that the data planes dropped nothing, but for a responder's first packets:
// they may be there before the initiator has the answer, and with it the SA.
func undropped(t *testing.T, c *cloud.Cloud) {
	t.Helper()
	for _, node := range []string{"hub", "spoke1", "spoke2", "spoke3"} {
		check(t, c.Ask(t.Context(), node, func(ctx context.Context, client *control.Client) error {
			drops, err := client.Drops(ctx)
			const first = 4
			drops = slices.DeleteFunc(drops, func(d control.Drop) bool { return d.Reason == "unknown-spi" && d.Packets <= first })
			if len(drops) > 0 {
				t.Errorf("%s dropped %+v", node, drops)
			}
			return err
		}))
	}
}

// TestChecksumsOnTheWire: wires that carry what a cable would, segmented and
// with checksums filled in. Each packet is checked: outer IP, inner IP, TCP.
func TestChecksumsOnTheWire(t *testing.T) {
	var wire checker
	c := up(t, cloud.Options{Spokes: 3, Wire: func(_ string, w *lab.Wire) { w.Inspect = wire.inspect }, Settings: func(node string, s *cloud.Settings) {
		no := false
		if node == "spoke3" {
			s.Tunnels[0].Shortcut = &no
		}
	}})
	shortcut(t, c, 1, 2)
	wire.reset()
	for _, path := range []struct {
		what     string
		from, to *lab.Node
		address  netip.Addr
	}{
		{"spoke to LAN", c.Spokes[0], c.HubHost, cloud.Host(0)},
		{"spoke–hub–spoke", c.Hosts[2], c.Hosts[0], cloud.Host(1)},
		{"spoke–spoke", c.Hosts[0], c.Hosts[1], cloud.Host(2)},
	} {
		before := checksumErrors(t, c)
		rate, _ := iperf(t, path.from, path.to, path.address, 2)
		segments, wrong := wire.reset()
		t.Logf("%s: %.2f Gbit/s, %d TCP segments looked at", path.what, rate/1e9, segments)
		if segments < 1000 || len(wrong) > 0 {
			t.Errorf("%s: %d segments, wrong: %v", path.what, segments, wrong)
		}
		if errors := checksumErrors(t, c) - before; errors != 0 {
			t.Errorf("%s: %d checksum errors", path.what, errors)
		}
	}
}

// checker looks at GRE frames from several goroutines.
type checker struct {
	mu       sync.Mutex
	segments int
	wrong    []string
}

func (c *checker) reset() (segments int, wrong []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	segments, wrong = c.segments, c.wrong
	c.segments, c.wrong = 0, nil
	return segments, wrong
}

func (c *checker) inspect(frame []byte) {
	if !isData(lab.Frame{Data: frame}) {
		return
	}
	tcp, fault := checkFrame(frame)
	c.mu.Lock()
	defer c.mu.Unlock()
	if tcp {
		c.segments++
	}
	if fault != "" && len(c.wrong) < 5 {
		c.wrong = append(c.wrong, fmt.Sprintf("%s: % x", fault, frame[:min(len(frame), 100)]))
	}
}

// checkFrame checks Ethernet, IPv4 and GRE with a key around IPv4.
func checkFrame(frame []byte) (tcp bool, fault string) {
	const ethernet, ipv4, greKey, most = 14, 20, 8, 1514
	outer := frame[ethernet:]
	inner := outer[ipv4+greKey:]
	if len(frame) > most {
		return false, fmt.Sprintf("frame of %d octets", len(frame))
	}
	if lab.Sum(outer[:ipv4], 0) != 0xffff {
		return false, "outer IP checksum"
	}
	size, header := int(binary.BigEndian.Uint16(inner[2:])), int(inner[0]&15)*4
	if inner[0]>>4 != 4 || size > len(inner) || header > size || lab.Sum(inner[:header], 0) != 0xffff {
		return false, "inner IP header"
	}
	protocol, body := inner[9], inner[header:size]
	if protocol != 6 {
		return false, ""
	}
	pseudo := uint32(protocol) + uint32(len(body))
	for i := 12; i < 20; i += 2 {
		pseudo += uint32(binary.BigEndian.Uint16(inner[i:]))
	}
	if lab.Sum(body, pseudo) != 0xffff {
		return true, "TCP checksum"
	}
	return true, ""
}
