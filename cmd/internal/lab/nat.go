// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
)

// Ports is how a NAT chooses the port that stands outside for one inside.
type Ports string

const (
	// KeepPorts is Linux's own way: the port of inside, while nobody else has it
	// towards the same destination; else another one.
	KeepPorts Ports = "masquerade"
	// PortPerDestination gives every destination another port, a "symmetric" NAT.
	PortPerDestination Ports = "masquerade fully-random"
	// OtherPorts keeps one port of its own choice for each inside, whatever the destination.
	OtherPorts Ports = "meta l4proto udp masquerade to :5500-5599"
)

// NAT makes a router hide what is behind it: packets of IPv4 and IPv6 that it sends out by a
// device leave with that device's address. What comes in there and answers nothing is
// dropped, unless it asks the router itself by ICMP. It replaces a NAT there was;
// connections that are known stay as they are until ForgetConnections.
func (n *Node) NAT(outside string, ports Ports) error {
	// What is dropped on input never becomes a connection: else a packet from
	// outside, before its time, would take the port from who is inside.
	rules := fmt.Sprintf(`table inet nat
delete table inet nat
table inet nat {
	chain postrouting { type nat hook postrouting priority srcnat; oifname %[1]q %[2]s; }
	chain input { type filter hook input priority filter; iifname %[1]q meta l4proto != { icmp, ipv6-icmp } ct state new drop; }
	chain forward { type filter hook forward priority filter; iifname %[1]q ct state new drop; }
}
`, outside, ports)
	file := filepath.Join(n.Dir, "nat.nft")
	if err := os.WriteFile(file, []byte(rules), 0o644); err != nil {
		return fmt.Errorf("node %s: NAT: %w", n.Name, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := n.Run(ctx, "nft", "-f", file); err != nil {
		return fmt.Errorf("NAT: %w", err)
	}
	return nil
}

// ForgetConnections makes a NAT forget whom it has given which port, as one does that
// was restarted: what goes out next gets another one, if NAT has been told so.
func (n *Node) ForgetConnections() error {
	if err := n.Net.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
		return fmt.Errorf("node %s: forget connections: %w", n.Name, err)
	}
	return nil
}
