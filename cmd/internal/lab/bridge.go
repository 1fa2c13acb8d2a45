// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// Bridge adds a switch with an address to a node; Plug puts devices into it.
func (n *Node) Bridge(device, address string) {
	if n.lab.err != nil {
		return
	}
	asks := false // for groups, by IGMP: that is nothing of what is looked at
	err := n.Net.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: device}, MulticastSnooping: &asks})
	if err == nil {
		err = errors.Join(n.AddAddress(device, address), n.SetUp(device, true))
	}
	if err != nil {
		n.lab.fail("node %s: bridge %s: %w", n.Name, device, err)
	}
}

// Plug puts a device, the end of a wire, into a bridge of its node.
func (n *Node) Plug(device, bridge string) {
	if n.lab.err != nil {
		return
	}
	link, err := n.Net.LinkByName(device)
	if err != nil {
		n.lab.fail("node %s: device %s: %w", n.Name, device, err)
		return
	}
	master, err := n.Net.LinkByName(bridge)
	if err == nil {
		err = n.Net.LinkSetMaster(link, master)
	}
	if err != nil {
		n.lab.fail("node %s: %s into bridge %s: %w", n.Name, device, bridge, err)
	}
}

// Isolate keeps a device of a bridge from sending to other isolated ones, as access
// networks do with their subscribers: what is left to it is the bridge's own node.
func (n *Node) Isolate(device string) error {
	link, err := n.Net.LinkByName(device)
	if err == nil {
		err = n.Net.LinkSetIsolated(link, true)
	}
	if err != nil {
		return fmt.Errorf("node %s: isolate %s: %w", n.Name, device, err)
	}
	return nil
}
