// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Forge sends whole IPv4 packets, headers included, as the node routes them: from any
// source, as somebody in the middle could.
func (n *Node) Forge(packets ...[]byte) error {
	return n.Do(func() (err error) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return fmt.Errorf("node %s: forge: %w", n.Name, err)
		}
		defer func() { err = errors.Join(err, unix.Close(fd)) }()
		for _, p := range packets {
			if len(p) < 20 {
				return fmt.Errorf("node %s: forge: %d octets are no IPv4 packet", n.Name, len(p))
			}
			to := &unix.SockaddrInet4{Addr: netip.AddrFrom4([4]byte(p[16:20])).As4()}
			if err := unix.Sendto(fd, p, 0, to); err != nil {
				return fmt.Errorf("node %s: forge: %w", n.Name, err)
			}
		}
		return nil
	})
}
