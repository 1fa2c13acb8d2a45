// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Forge sends whole packets of IPv4 or IPv6, headers included, as the node routes them: from
// any source, as somebody in the middle could.
func (n *Node) Forge(packets ...[]byte) error {
	return n.Do(func() (err error) {
		for _, p := range packets {
			if err := forge(p); err != nil {
				return fmt.Errorf("node %s: forge: %w", n.Name, err)
			}
		}
		return nil
	})
}

func forge(p []byte) (err error) {
	domain, to := unix.AF_INET, unix.Sockaddr(nil)
	switch {
	case len(p) >= 20 && p[0]>>4 == 4:
		to = &unix.SockaddrInet4{Addr: [4]byte(p[16:20])}
	case len(p) >= 40 && p[0]>>4 == 6:
		domain, to = unix.AF_INET6, &unix.SockaddrInet6{Addr: netip.AddrFrom16([16]byte(p[24:40])).As16()}
	default:
		return fmt.Errorf("%d octets are no IP packet", len(p))
	}
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	return unix.Sendto(fd, p, 0, to)
}
