// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// All daemons stay dead for so long, and a single one for so long.
const (
	deadTime      = 30 * time.Second
	shortDeadTime = 2 * time.Second
)

// flow is numbered UDP and a TCP connection between the same two hosts.
type flow struct {
	what   string
	stream *lab.Stream
	talk   *lab.Talk
}

func startFlow(t *testing.T, c *cloud.Cloud, what string, from, to, port int) flow {
	t.Helper()
	f := flow{what: what}
	var err error
	sender, receiver := c.Hosts[from-1], c.Hosts[to-1]
	f.stream, err = sender.Stream(receiver, netip.AddrPortFrom(cloud.Host(to), uint16(port)), 1000, 200)
	check(t, err)
	f.talk, err = sender.Talk(receiver, netip.AddrPortFrom(cloud.Host(to), uint16(port)))
	check(t, err)
	return f
}

func (f flow) stop(t *testing.T) {
	t.Helper()
	spotless(t, f.what, f.stream.Stop())
	r := f.talk.Stop()
	t.Logf("%s, TCP: %d blocks, longest wait %v, %d retransmissions", f.what, r.Blocks, r.Longest, r.Retransmissions)
	if r.Err != nil || r.Retransmissions > 0 || r.Blocks < 1000 {
		t.Errorf("%s, TCP: %+v", f.what, r)
	}
}

// adopted is what a daemon must find again: its maps and its device are the same
// objects, its peers have their ids, and the carrier has not been away.
type adopted struct {
	maps      string
	device    int
	carrier   int
	peers     []string
	shortcuts []netip.Prefix
}

func lookAt(t *testing.T, c *cloud.Cloud, node string) adopted {
	t.Helper()
	ctx := t.Context()
	var a adopted
	var err error
	var ids []string
	for _, pin := range c.Pins(node) {
		if name, ok := strings.CutPrefix(pin, "dmvpn/default/dmvpn_"); ok {
			out, err := c.Get(node).Run(ctx, "bpftool", "-j", "map", "show", "pinned", "/sys/fs/bpf/"+pin)
			check(t, err)
			var m struct{ ID json.Number }
			check(t, json.Unmarshal([]byte(out), &m))
			ids = append(ids, name+" "+m.ID.String())
		}
	}
	a.maps = strings.Join(ids, ", ")
	tunnel, err := c.Tunnel(ctx, node, cloud.Device)
	check(t, err)
	a.device = tunnel.IfIndex
	a.carrier, err = c.Get(node).CarrierLosses(ctx, cloud.Device)
	check(t, err)
	a.peers = c.PeerNames(ctx, node)
	list, err := c.Shortcuts(ctx, node)
	check(t, err)
	for _, s := range list {
		a.shortcuts = append(a.shortcuts, s.Prefix)
	}
	if a.maps == "" || a.device == 0 || len(a.peers) == 0 {
		t.Fatalf("%s: %+v", node, a)
	}
	return a
}

func (a adopted) compare(t *testing.T, node string, now adopted) {
	t.Helper()
	if now.maps != a.maps || now.device != a.device || now.carrier != a.carrier ||
		!slices.Equal(now.peers, a.peers) || !slices.Equal(now.shortcuts, a.shortcuts) {
		t.Errorf("%s is not what it was:\n%+v\nbefore:\n%+v", node, now, a)
	}
}

// TestKilledDaemonsLoseNothing: the daemons of the hub and of all spokes are
// killed, stay dead for 30 s and are started again; then each alone. All of it
// under numbered UDP and TCP.
//
//	host1 → spoke1 ═══════════ spoke2 → host2    on a shortcut
//	host3 → spoke3 ═══ hub ═══ spoke1 → host1    spoke3 takes no shortcuts
func TestKilledDaemonsLoseNothing(t *testing.T) {
	t.Parallel()
	no := false
	c := up(t, cloud.Options{Spokes: 3, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke3" {
			s.Tunnels[0].Shortcut = &no
		}
	}})
	shortcut(t, c, 1, 2)
	ping(t, c.Hosts[2], 1)
	until(t, c, patience, func() error { return c.Direct(t.Context(), "spoke1", cloud.Network(3)) }) // for the answers
	nodes := []string{"hub", "spoke1", "spoke2", "spoke3"}
	before := map[string]adopted{}
	for _, node := range nodes {
		before[node] = lookAt(t, c, node)
	}
	flows := []flow{startFlow(t, c, "on the shortcut", 1, 2, 4000), startFlow(t, c, "by the hub", 3, 1, 4100)}
	time.Sleep(time.Second)
	atHub, err := c.Hub.Capture(cloud.Underlay, isData)
	check(t, err)
	crash(t, c, before, deadTime, func() {
		for _, f := range flows {
			if r := f.stream.Snapshot(); r.Lost() > 1000 { // a busy machine has that many on their way
				t.Errorf("%s, with dead daemons: %v", f.what, r)
			}
		}
	}, nodes...)
	for _, node := range nodes {
		crash(t, c, before, shortDeadTime, func() {}, node)
	}
	ways(t, atHub.Close())
	for _, f := range flows {
		f.stop(t)
	}
}

// crash kills the daemons of nodes, lets them be dead, and starts them again.
func crash(t *testing.T, c *cloud.Cloud, before map[string]adopted, dead time.Duration, then func(), nodes ...string) {
	t.Helper()
	ctx := t.Context()
	for _, node := range nodes {
		check(t, c.Kill(ctx, node))
	}
	time.Sleep(dead)
	then()
	for _, node := range nodes {
		check(t, c.Start(node))
	}
	for _, node := range nodes {
		check(t, c.Ready(ctx, node))
		before[node].compare(t, node, lookAt(t, c, node))
	}
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	time.Sleep(time.Second)
	for _, node := range nodes {
		before[node].compare(t, node, lookAt(t, c, node))
	}
}

// ways checks that the hub has seen all of one flow's packets and none of the
// other's. The answers of the first are host1's: while spoke3's daemon does not
// answer probes, and nothing else comes from there, they go by the hub, too.
func ways(t *testing.T, frames []lab.Frame) {
	t.Helper()
	seen := map[[2]netip.Addr]int{}
	for _, f := range frames {
		if from, to, ok := innerAddresses(f); ok {
			seen[[2]netip.Addr{from, to}]++
		}
	}
	one, two, three := cloud.Host(1), cloud.Host(2), cloud.Host(3)
	by := seen[[2]netip.Addr{three, one}]
	delete(seen, [2]netip.Addr{three, one})
	delete(seen, [2]netip.Addr{one, three})
	if by < 30000 || seen[[2]netip.Addr{one, two}] > 0 || seen[[2]netip.Addr{two, one}] > 0 {
		t.Errorf("packets at the hub: %d of host3, and %v", by, seen)
	}
}

// innerAddresses are source and destination of the packet inside an Ethernet frame with
// GRE, with a key, around IPv4.
func innerAddresses(f lab.Frame) (from, to netip.Addr, ok bool) {
	const at = 14 + 20 + 8 + 12
	if len(f.Data) < at+8 {
		return from, to, false
	}
	return netip.AddrFrom4([4]byte(f.Data[at:])), netip.AddrFrom4([4]byte(f.Data[at+4:])), true
}
