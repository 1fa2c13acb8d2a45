// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// CarrierLosses is how often a device has lost its carrier since it was made.
// The kernel counts every loss, though it merges its notices of them.
func (n *Node) CarrierLosses(ctx context.Context, device string) (int, error) {
	out, err := n.Run(ctx, "cat", "/sys/class/net/"+device+"/carrier_down_count")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(out))
}

// Carrier says whether a device has its carrier.
func (n *Node) Carrier(device string) (bool, error) {
	link, err := n.Net.LinkByName(device)
	if err != nil {
		return false, fmt.Errorf("node %s: device %s: %w", n.Name, device, err)
	}
	return link.Attrs().RawFlags&unix.IFF_LOWER_UP != 0, nil
}
