// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// bench is one machine whose peers are the test.
type bench struct {
	t testing.TB
	w *nhrptest.World
	n *nhrptest.Node
	// sent is what the machine sent since it was last looked at.
	sent []sent
}

type sent struct {
	to string
	at time.Duration // since the bench was made
	p  *wire.Packet
}

// Addresses of the cast of nhrp-cases.md.
const (
	hubNBMA, hubProtocol = "192.0.2.1", "10.0.0.1"
	s1NBMA, s1Protocol   = "198.51.100.11", "10.0.0.11"
	s2NBMA, s2Protocol   = "203.0.113.22", "10.0.0.12"
)

func newBench(t testing.TB, nbma string, config engine.Config) *bench {
	b := &bench{t: t, w: nhrptest.New(1)}
	b.w.Reimport = strings.HasSuffix(t.Name(), exported)
	b.w.Seen = func(from *nhrptest.Node, to engine.Endpoint, p *wire.Packet) {
		b.sent = append(b.sent, sent{to.NBMA.String(), b.w.Now.Sub(nhrptest.Start), p.Clone()})
	}
	b.n = b.w.Add("X", nbma, config)
	return b
}

// hub is H with S1 and S2 registered and their LANs routed to them.
func hub(t testing.TB, change ...func(*engine.Config)) *bench {
	config := nhrptest.HubConfig()
	for _, c := range change {
		c(&config)
	}
	b := newBench(t, hubNBMA, config)
	b.n.SetKernel(append(b.n.Kernel,
		nhrptest.Route{Prefix: prefix("10.10.1.0/24"), NextHop: addr(s1Protocol), Tunnel: true},
		nhrptest.Route{Prefix: prefix("10.10.2.0/24"), NextHop: addr(s2Protocol), Tunnel: true}))
	b.from(s1NBMA, registration(s1Protocol, s1NBMA))
	b.from(s2NBMA, registration(s2Protocol, s2NBMA))
	b.take()
	return b
}

// spoke is S1, registered at H.
func spoke(t testing.TB, change ...func(*engine.Config)) *bench {
	config := nhrptest.SpokeConfig("10.0.0.11/24", "10.10.1.0/24")
	for _, c := range change {
		c(&config)
	}
	b := newBench(t, s1NBMA, config)
	for _, x := range b.take() {
		b.registered(x.p)
	}
	for _, x := range b.take() {
		b.registered(x.p)
	}
	return b
}

// registered answers a registration of the spoke's as H does.
func (b *bench) registered(p *wire.Packet) {
	b.from(hubNBMA, reply(p, wire.RegistrationReply, hubProtocol, hubNBMA))
}

// from gives the machine a packet from an underlay address.
func (b *bench) from(nbma string, p *wire.Packet) {
	b.t.Helper()
	data, err := p.Marshal()
	if err != nil {
		b.t.Fatal(err)
	}
	b.n.Input(engine.Packet{From: engine.Endpoint{NBMA: netip.MustParseAddr(nbma)}, Data: data})
}

// ask gives the machine a packet and takes the one packet that it sends.
func (b *bench) ask(nbma string, p *wire.Packet) sent {
	b.t.Helper()
	b.take()
	b.from(nbma, p)
	return b.one()
}

func (b *bench) take() []sent {
	s := b.sent
	b.sent = nil
	return s
}

// one takes the one packet that was sent; to is "" if there was none.
func (b *bench) one() sent {
	b.t.Helper()
	s := b.take()
	if len(s) > 1 {
		b.t.Errorf("%d packets sent: %v", len(s), s)
	}
	if len(s) == 0 {
		return sent{p: &wire.Packet{}}
	}
	return s[0]
}

// silent checks that nothing was sent.
func (b *bench) silent() {
	b.t.Helper()
	for _, s := range b.take() {
		b.t.Errorf("sent to %s: %v", s.to, s.p)
	}
}

// counted is what one of the machine's counters says.
func (b *bench) counted(name string) uint64 { return b.snapshot().Counters[name] }

// indicate gives a spoke H's redirect of a packet of its LAN.
func (b *bench) indicate(destination string) {
	b.t.Helper()
	b.from(hubNBMA, indication("10.10.1.5", destination, destination))
}

// resolve makes a spoke ask for a destination and gives its request.
func (b *bench) resolve(destination string) *wire.Packet {
	b.t.Helper()
	b.take()
	b.indicate(destination)
	x := b.one()
	if x.p.Type != wire.ResolutionRequest {
		b.t.Fatalf("no request for %s but %v", destination, x.p)
	}
	return x.p
}

// answered lets H pass an answer on to a request of the spoke's.
func (b *bench) answered(request *wire.Packet, entries ...wire.CIE) {
	b.t.Helper()
	b.from(hubNBMA, reply(request, wire.ResolutionReply, s2Protocol, s2NBMA, entries...))
}

// shortcut makes the shortcut from S1 to S2's LAN.
func (b *bench) shortcut() {
	b.t.Helper()
	b.answered(b.resolve("10.10.2.5"), owner(24, s2Protocol, s2NBMA))
	b.take()
	if b.n.Installed[prefix("10.10.2.0/24")] != addr(s2Protocol) {
		b.t.Fatalf("no shortcut: %v", b.n.Reports)
	}
}

func (b *bench) snapshot() engine.Snapshot { return b.n.Machine.Snapshot(b.w.Now) }

func (b *bench) run(d time.Duration) { b.w.Run(d) }

// bare is a packet with the extensions that every implementation sends.
func bare(t wire.Type, protocol, nbma, destination string) *wire.Packet {
	p := &wire.Packet{
		AddressFamily: wire.FamilyIPv4, ProtocolType: wire.ProtocolIPv4, HopCount: 255, Type: t, RequestID: 7,
		SourceNBMA: addr(nbma), SourceProtocol: addr(protocol), DestinationProtocol: addr(destination),
	}
	for _, kind := range []wire.ExtensionType{wire.ExtensionResponderAddress, wire.ExtensionForwardTransit, wire.ExtensionReverseTransit, wire.ExtensionNATAddress} {
		e, _ := p.NewEntries(kind)
		p.Extensions = append(p.Extensions, e)
	}
	return p
}

func registration(protocol, nbma string, entries ...wire.CIE) *wire.Packet {
	p := bare(wire.RegistrationRequest, protocol, nbma, hubProtocol)
	p.Flags = wire.FlagNAT
	if p.CIEs = entries; len(entries) == 0 {
		p.CIEs = []wire.CIE{{PrefixLength: wire.HostPrefix, HoldingTime: 7200}}
	}
	return p
}

func network(s string) wire.CIE {
	p := prefix(s)
	return wire.CIE{PrefixLength: uint8(p.Bits()), HoldingTime: 7200, Protocol: p.Addr()}
}

func resolution(protocol, nbma, destination string) *wire.Packet {
	p := bare(wire.ResolutionRequest, protocol, nbma, destination)
	p.Flags = wire.FlagRouter | wire.FlagAuthoritative | wire.FlagSourceStable | wire.FlagNAT
	p.CIEs = []wire.CIE{{HoldingTime: 7200}}
	return p
}

func purgeOf(protocol, nbma, destination string, prefixes ...string) *wire.Packet {
	p := bare(wire.PurgeRequest, protocol, nbma, destination)
	for _, s := range prefixes {
		x := prefix(s)
		p.CIEs = append(p.CIEs, wire.CIE{PrefixLength: uint8(x.Bits()), Protocol: x.Addr()})
	}
	return p
}

// reply makes a reply of a request as some other implementation would.
func reply(request *wire.Packet, t wire.Type, protocol, nbma string, entries ...wire.CIE) *wire.Packet {
	p := request.Clone()
	p.Type = t
	if e := p.Extension(wire.ExtensionResponderAddress); e != nil {
		x, _ := p.NewEntries(wire.ExtensionResponderAddress, wire.CIE{HoldingTime: 7200, NBMA: addr(nbma), Protocol: addr(protocol)})
		p.SetExtension(x)
	}
	if len(entries) > 0 {
		p.CIEs = entries
	}
	return p
}

// owner is the entry of an answer: a prefix that a next hop owns.
func owner(bits uint8, protocol, nbma string) wire.CIE {
	return wire.CIE{PrefixLength: bits, HoldingTime: 7200, Protocol: addr(protocol), NBMA: addr(nbma)}
}

// indication is H's redirect of a packet.
func indication(source, destination, field string) *wire.Packet {
	p := &wire.Packet{
		AddressFamily: wire.FamilyIPv4, ProtocolType: wire.ProtocolIPv4, HopCount: 255, Type: wire.TrafficIndication,
		SourceNBMA: addr(hubNBMA), SourceProtocol: addr(hubProtocol), DestinationProtocol: addr(field),
	}
	p.Contents = inner(source, destination)
	return p
}

func inner(source, destination string) []byte {
	b := make([]byte, 28)
	b[0], b[3], b[8], b[9] = 0x45, 28, 64, 17
	s, d := addr(source).As4(), addr(destination).As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	return b
}

// sealed gives the octets of a packet a right checksum.
func sealed(b []byte) []byte {
	binary.BigEndian.PutUint16(b[12:], 0)
	binary.BigEndian.PutUint16(b[12:], wire.Checksum(b))
	return b
}

// errorAbout is an Error Indication about a packet.
func errorAbout(about *wire.Packet, code wire.ErrorCode, protocol, nbma string) *wire.Packet {
	data, _ := about.Marshal()
	return &wire.Packet{
		AddressFamily: wire.FamilyIPv4, ProtocolType: wire.ProtocolIPv4, HopCount: 255, Type: wire.ErrorIndication,
		SourceNBMA: addr(nbma), SourceProtocol: addr(protocol), DestinationProtocol: about.SourceProtocol, ErrorCode: code, Contents: data,
	}
}

// exported ends the name of a test whose machine is exported before every input
// and imported into a fresh one.
const exported = "with_export"

// row is a test of nhrp-cases.md, named by its id.
type row struct {
	name string
	test func(t *testing.T)
}

func rows(t *testing.T, list []row) {
	for _, r := range list {
		t.Run(r.name, func(t *testing.T) {
			r.test(t)
			t.Run(exported, r.test)
		})
	}
}

func spokeConfig() engine.Config { return nhrptest.SpokeConfig("10.0.0.11/24", "10.10.1.0/24") }
