// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// replayWindow of the kernel's states, in packets.
const replayWindow = 32

func addr(text string) net.IP { return net.ParseIP(text) }

func ip(a netip.Addr) net.IP { return net.IP(a.AsSlice()) }

// state is one direction of the Child SA as the kernel has it.
func (c *child) state(in bool) *netlink.XfrmState {
	s := &netlink.XfrmState{
		Src: ip(c.Local.Addr()), Dst: ip(c.Remote.Addr()), Spi: int(c.Outbound), Proto: netlink.XFRM_PROTO_ESP, Mode: c.mode(),
		Reqid: int(uint32(c.Peer.ID)), ReplayWindow: replayWindow, ESN: c.Extended,
		Limits: netlink.XfrmStateLimits{ByteSoft: c.SoftBytes, ByteHard: c.HardBytes, PacketSoft: c.SoftPackets, PacketHard: c.HardPackets},
	}
	from, to, keys := c.Local, c.Remote, c.Out
	if in {
		s.Src, s.Dst, s.Spi = s.Dst, s.Src, int(c.Inbound)
		from, to, keys = c.Remote, c.Local, c.In
	}
	if c.Encapsulation {
		s.Encap = &netlink.XfrmStateEncap{Type: netlink.XFRM_ENCAP_ESPINUDP, SrcPort: int(from.Port()), DstPort: int(to.Port()), OriginalAddress: net.IPv4zero}
	}
	algorithms(s, c.Suite, keys)
	return s
}

func (c *child) mode() netlink.Mode {
	if c.Mode == sa.Tunnel {
		return netlink.XFRM_MODE_TUNNEL
	}
	return netlink.XFRM_MODE_TRANSPORT
}

// hashes are the kernel's names of integrity algorithms, and their check value's bits.
var hashes = map[uint16]netlink.XfrmStateAlgo{
	wire.IntegrityHMACSHA256128: {Name: "hmac(sha256)", TruncateLen: 128},
	wire.IntegrityHMACSHA384192: {Name: "hmac(sha384)", TruncateLen: 192},
	wire.IntegrityHMACSHA512256: {Name: "hmac(sha512)", TruncateLen: 256},
}

func algorithms(s *netlink.XfrmState, suite crypto.Suite, keys crypto.DirectionKeys) {
	switch suite.Encryption {
	case wire.EncryptionAESGCM16:
		s.Aead = &netlink.XfrmStateAlgo{Name: "rfc4106(gcm(aes))", Key: keys.Encryption, ICVLen: 128}
	case wire.EncryptionChaCha20Poly1305:
		s.Aead = &netlink.XfrmStateAlgo{Name: "rfc7539esp(chacha20,poly1305)", Key: keys.Encryption, ICVLen: 128}
	default:
		s.Crypt = &netlink.XfrmStateAlgo{Name: "cbc(aes)", Key: keys.Encryption}
		hash := hashes[suite.Integrity]
		hash.Key = keys.Integrity
		s.Auth = &hash
	}
}

// The directions of policies: what comes in, to us or to be forwarded, and what goes
// out.
var (
	inbound  = []netlink.Dir{netlink.XFRM_DIR_IN, netlink.XFRM_DIR_FWD}
	outbound = []netlink.Dir{netlink.XFRM_DIR_OUT}
)

// policies are those of some directions: for each pair of selectors one, that wants
// ESP between the two ends.
func (c *child) policies(directions ...[]netlink.Dir) (all []netlink.XfrmPolicy) {
	for _, list := range directions {
		for _, d := range list {
			for _, here := range c.Here {
				for _, there := range c.There {
					all = append(all, c.policy(d, here, there))
				}
			}
		}
	}
	return all
}

func (c *child) policy(d netlink.Dir, here, there wire.Selector) netlink.XfrmPolicy {
	local, remote := ip(c.Local.Addr()), ip(c.Remote.Addr())
	p := netlink.XfrmPolicy{
		Src: c.network(here, c.Local.Addr()), Dst: c.network(there, c.Remote.Addr()), Proto: netlink.Proto(here.Protocol), Dir: d, Priority: 1000,
		Tmpls: []netlink.XfrmPolicyTmpl{{Src: local, Dst: remote, Proto: netlink.XFRM_PROTO_ESP, Mode: c.mode(), Spi: int(c.Outbound), Reqid: int(uint32(c.Peer.ID))}},
	}
	if d != netlink.XFRM_DIR_OUT {
		p.Src, p.Dst = p.Dst, p.Src
		p.Tmpls[0].Src, p.Tmpls[0].Dst, p.Tmpls[0].Spi = remote, local, 0
	}
	return p
}

// network is a selector's. In transport mode it is the host's address as it is here:
// a NAT may have made another one of it.
func (c *child) network(s wire.Selector, host netip.Addr) *net.IPNet {
	if c.Mode == sa.Transport {
		return &net.IPNet{IP: ip(host), Mask: net.CIDRMask(host.BitLen(), host.BitLen())}
	}
	// What is no prefix is cut to the largest one at its start.
	all := s.Start.BitLen()
	bits := all
	for bits > 0 {
		p, err := s.Start.Prefix(bits - 1)
		if err != nil || p.Addr() != s.Start || last(p).Compare(s.End) > 0 {
			break
		}
		bits--
	}
	return &net.IPNet{IP: ip(s.Start), Mask: net.CIDRMask(bits, all)}
}

// last is a prefix's last address.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
