// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"testing"

	"dmvpn/ikev2/iketest"
	"dmvpn/ikev2/wire"
)

func captures(t testing.TB) []iketest.Capture {
	t.Helper()
	all, err := iketest.Captures()
	if err != nil || len(all) < 18 {
		t.Fatalf("%d captures, %v", len(all), err)
	}
	return all
}

// ikeMessages gives the IKE messages of a capture, without the non-ESP marker.
func ikeMessages(c iketest.Capture) [][]byte {
	var all [][]byte
	for _, d := range c.Datagrams {
		b, kind := d.Payload, wire.IKE
		if d.Source.Port() != 500 && d.Destination.Port() != 500 {
			kind, b = wire.Classify(b)
		}
		if kind == wire.IKE {
			all = append(all, b)
		}
	}
	return all
}

// TestStrongSwansPacketsSurviveTheCodec: what strongSwan sends is decoded, and
// encoded again it is the same to the octet.
func TestStrongSwansPacketsSurviveTheCodec(t *testing.T) {
	count := 0
	for _, c := range captures(t) {
		t.Run(c.Name, func(t *testing.T) {
			for i, b := range ikeMessages(c) {
				m, err := wire.Parse(b)
				if err != nil {
					t.Fatalf("message %d: %v\n%x", i+1, err, b)
				}
				again, err := m.Append(nil)
				if err != nil || !bytes.Equal(again, b) {
					t.Errorf("message %d, %s: encoded again, %v\n got %x\nwant %x", i+1, m, err, again, b)
				}
				count++
			}
		})
	}
	if count < 175 {
		t.Errorf("only %d IKE messages in the captures", count)
	}
}

// TestProposalsReadAsInStrongSwansLog: the chosen proposal of each IKE_SA_INIT
// response, printed, is the one that charon logged.
func TestProposalsReadAsInStrongSwansLog(t *testing.T) {
	seen := 0
	for _, c := range captures(t) {
		for _, b := range ikeMessages(c) {
			m, err := wire.Parse(b)
			if err != nil || m.Exchange != wire.IKESAInit || !m.Response {
				continue
			}
			sa, ok := wire.Find[*wire.SA](m.Payloads)
			if !ok {
				continue
			}
			for _, keys := range c.IKESAs {
				if bytes.Equal(keys.SPIr, m.SPIr[:]) {
					seen++
					if got, want := sa.String(), "SA(#1 IKE:"+keys.Proposal+")"; got != want {
						t.Errorf("%s: %s, charon logged %s", c.Name, got, want)
					}
				}
			}
		}
	}
	if seen < 16 {
		t.Errorf("only %d proposals compared", seen)
	}
}

// TestPortsHoldWhatTheyShould: the four kinds of datagrams on port 4500.
func TestPortsHoldWhatTheyShould(t *testing.T) {
	cases := []struct {
		name string
		in   []byte
		want wire.Encapsulation
		left int
	}{
		{"four zero octets and a message are IKE", []byte{0, 0, 0, 0, 1, 2, 3}, wire.IKE, 3},
		{"the marker alone is an empty message, which Parse refuses", []byte{0, 0, 0, 0}, wire.IKE, 0},
		{"one octet FF is a keepalive", []byte{0xFF}, wire.Keepalive, 1},
		{"an SPI and a sequence number are ESP", []byte{1, 0, 0, 0, 0, 0, 0, 1}, wire.ESP, 8},
		{"an SPI without a sequence number is nothing", []byte{1, 0, 0, 0, 0}, wire.Garbage, 0},
		{"three octets are nothing", []byte{0, 0, 0}, wire.Garbage, 0},
		{"one other octet is nothing", []byte{0xFE}, wire.Garbage, 0},
		{"no octet is nothing", nil, wire.Garbage, 0},
	}
	for _, c := range cases {
		if kind, left := wire.Classify(c.in); kind != c.want || len(left) != c.left {
			t.Errorf("%s: kind %d, %d octets", c.name, kind, len(left))
		}
	}
	kinds := map[wire.Encapsulation]int{}
	for _, c := range captures(t) {
		if c.Name == "natt" {
			for _, d := range c.Datagrams {
				if d.Source.Port() != 500 && d.Destination.Port() != 500 {
					kind, _ := wire.Classify(d.Payload)
					kinds[kind]++
				}
			}
		}
	}
	if kinds[wire.IKE] == 0 || kinds[wire.ESP] == 0 || kinds[wire.Keepalive] == 0 || kinds[wire.Garbage] != 0 {
		t.Errorf("strongSwan behind a NAT: %v", kinds)
	}
}
