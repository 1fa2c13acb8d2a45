// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
)

// An End is where a wire is plugged in: a device that the wire makes, with an
// address and its prefix length ("" for none).
type End struct {
	Node    string
	Device  string
	Address string
}

// A Wire joins two nodes. A plain one is a veth pair. One with a delay, or with
// an inspector, is a pair of TAPs whose frames go through this process.
type Wire struct {
	A, B    End
	Delay   time.Duration           // one way
	Inspect func(frame []byte)      // sees each frame as it would be on a cable, from both directions at once
	Lose    func(frame []byte) bool // true loses the frame; called like Inspect

	relay *relay
}

// Wire plugs a wire in, brings both ends up and waits until they send.
func (l *Lab) Wire(w *Wire) *Wire {
	if l.err != nil {
		return w
	}
	a, b := l.nodes[w.A.Node], l.nodes[w.B.Node]
	if a == nil || b == nil {
		l.fail("wire %s–%s: no such node", w.A.Node, w.B.Node)
		return w
	}
	err := l.build(func() (err error) {
		if w.relayed() {
			w.relay, err = newRelay(w, a, b)
		} else {
			err = w.veth(a, b)
		}
		if err == nil {
			l.wires = append(l.wires, w)
		}
		return err
	})
	if err != nil {
		l.fail("wire %s–%s: %w", w.A.Node, w.B.Node, err)
		return w
	}
	for _, e := range []End{w.A, w.B} {
		n := l.nodes[e.Node]
		if e.Address != "" {
			n.Address(e.Device, e.Address)
		}
		if err := n.SetUp(e.Device, true); err != nil {
			l.fail("%w", err)
		}
	}
	if w.relayed() || l.err != nil {
		return w // a TAP sends as soon as it is up
	}
	for _, e := range []End{w.A, w.B} {
		if err := l.nodes[e.Node].operating(e.Device); err != nil {
			l.fail("%w", err)
		}
	}
	return w
}

// operating waits until a veth that has been brought up operates: until then the
// kernel drops what it is given to send.
func (n *Node) operating(device string) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		link, err := n.Net.LinkByName(device)
		if err != nil {
			return fmt.Errorf("node %s: device %s: %w", n.Name, device, err)
		}
		if link.Attrs().OperState == netlink.OperUp {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("node %s: device %s is %v after 10 s", n.Name, device, link.Attrs().OperState)
		}
	}
}

// relayed says whether the frames go through this process.
func (w *Wire) relayed() bool { return w.Delay != 0 || w.Inspect != nil || w.Lose != nil }

func (w *Wire) veth(a, b *Node) error {
	return a.Net.LinkAdd(&netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: w.A.Device, MTU: 1500},
		PeerName:      w.B.Device,
		PeerNamespace: netlink.NsFd(int(b.ns)),
	})
}

func (w *Wire) close() {
	if w.relay != nil {
		w.relay.close()
	}
}

// SetUp brings a device up or down.
func (n *Node) SetUp(device string, up bool) error {
	link, err := n.Net.LinkByName(device)
	if err != nil {
		return fmt.Errorf("node %s: device %s: %w", n.Name, device, err)
	}
	set := n.Net.LinkSetUp
	if !up {
		set = n.Net.LinkSetDown
	}
	if err := set(link); err != nil {
		return fmt.Errorf("node %s: device %s: %w", n.Name, device, err)
	}
	return nil
}
