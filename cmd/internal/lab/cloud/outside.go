// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"dmvpn/cmd/internal/lab"
)

// An Outside watches every underlay wire, before and behind the NATs: nothing but IKE,
// ESP, UDP around it and what hosts and NATs say to find each other may be there, no
// address of the overlay or of a LAN in an outer header, and no IV twice under one key.
type Outside struct {
	wires []*watched

	mu    sync.Mutex
	judge judge // one for all: it learns on one wire what it sees on another
}

// A watched wire.
type watched struct {
	node    string
	capture *lab.Capture
	ivs     ivs
	seen    map[Kind]int
	late    []lab.Frame // between ports that are not known yet
	bad     []error     // the first ones
	count   int         // of the bad
}

// Outside starts to watch; from before the first daemon starts there is nothing that
// may be missed.
func (c *Cloud) Outside() (*Outside, error) { return c.watch((*lab.Node).Capture) }

// OutsideFast is Outside for streams at full speed: the kernel looks at each frame and hands up
// what is not ESP by its form, or has an address of the overlay where one would stand in clear;
// of the rest it hands up one in 64, by its IV, so that one that is there twice is among them
// twice or not at all.
func (c *Cloud) OutsideFast() (*Outside, error) {
	return c.watch(func(n *lab.Node, device string, keep func(lab.Frame) bool) (*lab.Capture, error) {
		return n.CaptureOnly(device, doubtful(), keep)
	})
}

func (c *Cloud) watch(start func(*lab.Node, string, func(lab.Frame) bool) (*lab.Capture, error)) (*Outside, error) {
	o := &Outside{judge: c.judge()}
	for _, n := range slices.Concat([]*lab.Node{c.Hub}, c.MoreHubs, c.Spokes, c.NATs) {
		w := &watched{node: n.Name, ivs: ivs{}, seen: map[Kind]int{}}
		capture, err := start(n, Underlay, func(f lab.Frame) bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.look(w, f, false)
			return false
		})
		if err != nil {
			o.close()
			return nil, err
		}
		w.capture = capture
		o.wires = append(o.wires, w)
	}
	return o, nil
}

// judge knows this cloud's addresses.
func (c *Cloud) judge() judge {
	j := judge{
		services: c.services,
		inside:   []netip.Prefix{netip.PrefixFrom(HubTunnel(), 8).Masked(), netip.MustParsePrefix("fd00::/8")},
		hosts:    map[[4]byte]bool{}, hosts6: map[[16]byte]bool{}, mapped: map[netip.AddrPort]bool{},
	}
	for n := range len(c.Spokes) + 1 {
		for _, a := range []netip.Addr{HubTunnel(), TunnelAddress(n), Gateway(n), Host(n)} {
			j.hosts[a.As4()] = true
		}
		for _, a := range []netip.Addr{TunnelOf(6, 0), TunnelOf(6, n), GatewayOf(6, n), HostOf(6, n)} {
			j.hosts6[a.As16()] = true
		}
	}
	return j
}

const (
	outsideBad      = 3    // so many are told of
	outsideLate     = 1000 // so many frames are put off
	outsidePatience = 20 * time.Second
)

// look judges a frame. What is between unknown ports is put off until the end: the frame
// that makes them known may be waiting on another wire.
func (o *Outside) look(w *watched, f lab.Frame, last bool) {
	if !f.Outgoing && lab.IsBogus(f.Data) {
		w.seen[KindBogus]++
		return
	}
	kind, err := o.judge.frame(f.Data)
	if errors.Is(err, errPorts) && !last && len(w.late) < outsideLate {
		f.Data = slices.Clone(f.Data)
		w.late = append(w.late, f)
		return
	}
	if err == nil && f.Outgoing && (kind == KindESP || kind == KindESPinUDP) {
		err = w.ivs.note(f.Data)
	}
	if err == nil {
		w.seen[kind]++
		return
	}
	if w.count++; len(w.bad) < outsideBad {
		w.bad = append(w.bad, err)
	}
}

// A Sight is what was seen on the wires.
type Sight struct {
	Wires  int
	Seen   map[Kind]int // frames; one that goes over several wires counts on each
	Sealed int          // ESP packets whose (key, IV) was looked at
}

// String names what was there, most of it first.
func (s Sight) String() string {
	kinds := slices.SortedFunc(maps.Keys(s.Seen), func(a, b Kind) int { return s.Seen[b] - s.Seen[a] })
	var parts []string
	for _, k := range kinds {
		parts = append(parts, fmt.Sprintf("%d %s", s.Seen[k], k))
	}
	return strings.Join(parts, ", ")
}

// Look gives what was seen so far; the error tells of what should not have been.
func (o *Outside) Look() (Sight, error) {
	s := Sight{Wires: len(o.wires), Seen: map[Kind]int{}}
	var bad []string
	for _, w := range o.wires {
		if missed, err := w.capture.Settle(outsidePatience); err != nil {
			bad = append(bad, fmt.Sprintf("%s: %v", w.node, err))
		} else if missed > 0 {
			bad = append(bad, fmt.Sprintf("%s: %d frames came too fast to be looked at", w.node, missed))
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, w := range o.wires {
		late := w.late
		w.late = nil
		for _, f := range late {
			o.look(w, f, true)
		}
		for k, n := range w.seen {
			s.Seen[k] += n
		}
		s.Sealed += w.ivs.total()
		if w.count > 0 {
			text := fmt.Sprintf("%s: %d frames on the wire that should not be there", w.node, w.count)
			for _, err := range w.bad {
				text += "\n  " + err.Error()
			}
			bad = append(bad, text)
		}
	}
	if len(bad) > 0 {
		return s, errors.New(strings.Join(bad, "\n"))
	}
	return s, nil
}

// Close ends the watch and gives what Look does.
func (o *Outside) Close() (Sight, error) {
	sight, err := o.Look()
	o.close()
	return sight, err
}

func (o *Outside) close() {
	for _, w := range o.wires {
		w.capture.Close()
	}
}
