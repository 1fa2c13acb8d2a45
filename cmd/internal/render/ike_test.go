// SPDX-License-Identifier: Apache-2.0

package render

import (
	"net/netip"
	"time"

	"dmvpn/cmd/internal/control"
)

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// A hub: one spoke behind a NAT, one whose IKE SA is being replaced, one that has
// only begun, and a second hub that does not answer.
var ike = control.IKE{
	SAs: []control.IKESA{
		{
			ID: 1, Tunnel: "dmvpn0", Peer: 2, State: control.IKEEstablished, SPIi: "897365380e04ca03", SPIr: "02b21bb276e97356",
			Local: at("192.0.2.1:4500"), Remote: at("203.0.113.12:61207"), LocalID: "hub.example.net", RemoteID: "spoke2.example.net",
			Group: true, Proof: "psk", PeerProof: "psk", NATRemote: true, Suite: "aes256gcm16-prfsha256-x25519-ke1_mlkem768",
			Algorithms: control.Algorithms{Encryption: "aes256gcm16", PRF: "prfsha256", KeyExchange: "x25519", Further: []string{"mlkem768"}},
			Since:      ago(12*time.Minute + 33*time.Second), Heard: ago(3 * time.Second), Rekey: in(3*time.Hour + 40*time.Minute),
			Children: []control.ChildSA{{
				Inbound: "bff8c2fc", Outbound: "db7964ce", State: "active", Suite: "aes256gcm16",
				Algorithms: control.Algorithms{Encryption: "aes256gcm16"}, Mode: "transport", Encapsulation: true, Packets: 1207, Octets: 88411, Dropped: control.ESPDrops{Replay: 3, Truncated: 1},
				Here: []string{"192.0.2.1[gre]"}, There: []string{"203.0.113.12[gre]"}, Since: ago(12 * time.Minute), Rekey: in(40 * time.Minute),
			}},
		},
		{
			ID: 4, Tunnel: "dmvpn0", Peer: 5, State: control.IKEReplaced, Initiator: true, SPIi: "5396bbf2d39006e8", SPIr: "f2f6045f7ffe3aac",
			Local: at("192.0.2.1:500"), Remote: at("198.51.100.11:500"), LocalID: "hub.example.net", RemoteID: "C=CH, O=Example, CN=spoke1", Proof: "ecdsa", PeerProof: "rsa",
			Suite:      "aes128-sha256-prfsha256-ecp256",
			Algorithms: control.Algorithms{Encryption: "aes128", Integrity: "sha256", PRF: "prfsha256", KeyExchange: "ecp256"},
			Since:      ago(4 * time.Hour), Heard: ago(time.Second), Repeats: 2,
		},
		{
			ID: 6, State: control.IKEHalfOpen, SPIi: "0102030405060708", SPIr: "1112131415161718",
			Local: at("192.0.2.1:500"), Remote: at("198.51.100.13:500"), Since: ago(time.Second),
		},
	},
	Wants: []control.IKEWant{
		{Tunnel: "dmvpn1", Host: "hub2.example.net", Remote: addr("192.0.2.2"), Reason: "the peer says AUTHENTICATION_FAILED", Retry: in(16 * time.Second)},
		{Tunnel: "dmvpn1", Host: "192.0.2.3", Remote: addr("192.0.2.3"), Up: true},
	},
}

var trace = []control.IKELine{
	{Time: now, Local: at("192.0.2.1:500"), Remote: at("198.51.100.11:500"), Message: "IKE_SA_INIT request 0 897365380e04ca03_i 0000000000000000_r [COOKIE]"},
	{Time: now.Add(5 * time.Millisecond), Local: at("192.0.2.1:500"), Remote: at("198.51.100.11:500"), Out: true, Missed: 3, Message: "IKE_SA_INIT response 0 897365380e04ca03_i 02b21bb276e97356_r []"},
}
