// SPDX-License-Identifier: Apache-2.0

package cloud

import "net/netip"

// A tunnel that carries IPv6 has the same cloud again:
//
//	        host0 fd10::10
//	          │
//	         hub                             tunnel fd00::1
//	      ╱   │   ╲
//	spoke1  spoke2  spoke3 …                 tunnel fd00::11, ::12, ::13 …
//	  │       │       │
//	host1   host2   host3                    fd10:0:N::10

// inside gives the versions of IP that the tunnel carries.
func (o Options) inside() []int {
	if len(o.Inside) == 0 {
		return []int{4}
	}
	return o.Inside
}

// lan6 is an IPv6 address in a LAN; 0 is the hub's.
func lan6(n int, last byte) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x10, 5: byte(n), 15: last})
}

// TunnelOf is the address in the tunnel of a spoke by the version of IP, 4 or 6; 0 is the hub.
func TunnelOf(version, n int) netip.Addr {
	switch {
	case version == 4 && n == 0:
		return HubTunnel()
	case version == 4:
		return TunnelAddress(n)
	case n == 0:
		return netip.AddrFrom16([16]byte{0: 0xfd, 15: 1})
	}
	return netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(0x10 + n)})
}

// GatewayOf is the LAN address of a spoke by the version of IP; 0 is the hub.
func GatewayOf(version, n int) netip.Addr {
	if version == 4 {
		return Gateway(n)
	}
	return lan6(n, 1)
}

// HostOf is the address of the host in a LAN by the version of IP; 0 is the hub's.
func HostOf(version, n int) netip.Addr {
	if version == 4 {
		return Host(n)
	}
	return lan6(n, 0x10)
}

// NetworkOf is the LAN of a spoke by the version of IP; 0 is the hub's.
func NetworkOf(version, n int) netip.Prefix {
	if version == 4 {
		return Network(n)
	}
	return netip.PrefixFrom(lan6(n, 0), 64)
}
