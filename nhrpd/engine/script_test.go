// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"encoding/binary"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// script is what the fuzzer writes: each step takes its octets from the front,
// and 0 when there are none left.
type script struct {
	b     []byte
	steps int
}

func (s *script) octet() byte {
	if len(s.b) == 0 {
		return 0
	}
	o := s.b[0]
	s.b = s.b[1:]
	return o
}

func (s *script) word() uint16 { return uint16(s.octet())<<8 | uint16(s.octet()) }

// over ends what the fuzzer would make endless.
func (s *script) over() bool {
	s.steps++
	return len(s.b) == 0 || s.steps > 100
}

func pick[T any](s *script, list []T) T { return list[int(s.octet())%len(list)] }

// Who takes part: the three, one who is not known, and another address of S2.
var (
	fuzzNBMA = []netip.Addr{
		addr(hubNBMA), addr(s1NBMA), addr(s2NBMA), addr("203.0.113.99"), addr("203.0.113.23"), addr("10.0.0.12"), addr("224.0.0.1"),
	}
	fuzzProtocol = []netip.Addr{
		addr(hubProtocol), addr(s1Protocol), addr(s2Protocol), addr("10.0.0.13"), addr("10.10.0.5"), addr("10.10.1.5"), addr("10.10.2.5"),
		addr("10.10.2.0"), addr("10.10.9.1"), addr("10.0.0.255"), addr(hubNBMA), addr(s2NBMA), addr("0.0.0.0"), {},
	}
)

// fuzzTypes are the packet types.
var fuzzTypes = []wire.Type{1, 2, 3, 4, 5, 6, 7, 8, wire.ProbeRequest, wire.ProbeReply}

// fuzzIdentities are whom IKE names, nobody for the most part.
var fuzzIdentities = []string{"", "s1", "", "s2", ""}

// seedScripts are one of each kind of step, and the story.
var seedScripts = [][]byte{
	{0, 3, 1, 2, 0, 1, 2, 3, 1, 2, 0, 1, 60, 3, 2, 1, 0},
	{1, 4, 3, 1, 0, 17, 4, 1, 10, 3, 1, 2, 5, 0, 0, 3, 1, 0, 3, 7},
	{2, 5, 2, 0, 3, 0, 6, 5, 1, 1, 2, 1, 5, 0, 2, 4, 2, 3, 0, 30},
	{4, 6, 0, 0, 1, 0, 0, 6, 9, 2, 1, 0, 6, 40, 1, 0, 0, 2, 5},
	{8, 7, 1, 1, 100, 7, 0, 1, 100, 8, 2, 4, 1, 5, 8, 1, 2, 1, 5, 2, 1},
	{16, 9, 1, 1, 5, 9, 2, 0, 1, 5, 10, 1, 3, 10, 0, 1, 1, 9},
	{0, 3, 1, 2, 11, 1, 0, 6, 2, 3, 1, 2, 1, 5, 12, 0, 3, 0, 9, 1, 13, 0, 2, 3, 0},
	// Probes: a shortcut that is tried and cut, forged probes, an SA that comes and goes.
	{32, 3, 1, 2, 0, 1, 2, 7, 1, 2, 1, 3, 1, 2, 8, 1, 9, 7, 0, 0, 0, 1, 20, 3, 1, 2, 0, 0, 100},
	{33, 3, 1, 2, 0, 0, 50, 5, 1, 1, 0, 9, 5, 2, 1, 1, 5, 3, 1, 5, 0, 8, 1, 5, 0, 0, 200},
	{100, 3, 1, 2, 0, 0, 50, 12, 1, 0, 2, 2, 1, 0, 50, 12, 1, 0, 2, 2, 0, 3, 1, 2, 4, 0, 100, 9, 1, 1, 3, 0, 100},
	{3, 13, 2, 0, 1, 2, 3, 4, 13, 1, 0, 2, 4, 3, 2, 5, 60, 6, 1, 2, 9, 1},
	// Shortcuts are cleared while they are there, and while they are asked for.
	{0, 3, 1, 2, 0, 1, 2, 14, 1, 13, 3, 1, 2, 0, 0, 50, 3, 1, 6, 14, 1, 6, 16, 0, 3, 1, 6, 0, 14, 2, 2, 24, 0, 100},
	// With identities.
	{128, 3, 1, 2, 0, 1, 2, 3, 1, 2, 0, 1, 60, 5, 1, 1, 0, 9, 5, 2, 1, 1, 5, 3, 1, 5, 0, 8, 1, 5, 0, 0, 200},
	{225, 3, 1, 2, 0, 0, 50, 12, 1, 0, 2, 2, 1, 0, 50, 10, 0, 3, 0, 9, 1, 6, 9, 2, 1, 0, 13, 0, 2, 3, 0},
}

// step does what the script says next.
func (x *fuzzed) step() {
	x.stimuli++
	switch kind := x.octet() % 15; kind {
	case 0:
		x.run(time.Duration(x.octet()) * 10 * time.Millisecond)
	case 1:
		x.run(time.Duration(x.octet()) * time.Second)
	case 2:
		if x.long++; x.long <= 3 {
			x.run(time.Duration(x.octet()) * 10 * time.Second)
		}
	case 3: // data
		from, to := pick(x.script, x.c.Nodes), pick(x.script, fuzzProtocol)
		if to.IsValid() {
			from.Send(source(from).String(), to.String(), 1400*int(1+x.octet()%16))
		}
	case 4: // what is sent next changes on its way
		x.mangled, x.mangle = int(x.octet()%8), x.mutations()
	case 5: // one of the cloud's own packets comes again
		if len(x.packets) > 0 {
			x.input(x.rewrite(pick(x.script, x.packets[max(0, len(x.packets)-256):])))
		}
	case 6: // one of another cloud
		x.input(x.rewrite(x.captured[int(x.word())%len(x.captured)]))
	case 7: // the wire is cut, or whole again
		if a, b := pick(x.script, fuzzNBMA), pick(x.script, fuzzNBMA); x.octet()&1 != 0 {
			x.c.Cut = func(p, q netip.Addr) bool { return p == a && q == b || p == b && q == a }
		} else {
			x.c.Cut = func(p, q netip.Addr) bool { return false }
		}
	case 8: // another underlay address
		n := pick(x.script, x.c.Nodes)
		n.NBMA = netip.Addr{}
		if i := x.octet(); i%4 != 3 {
			n.NBMA = fuzzNBMA[int(i)%4+1]
		}
		if n.Machine != nil {
			n.Input(engine.LocalNBMA{Address: n.NBMA})
		}
	case 9: // the daemon dies and comes back
		n := pick(x.script, x.c.Nodes)
		state := n.Kill()
		if x.octet()&1 == 0 {
			state = nil
		}
		x.run(time.Duration(x.octet()) * time.Second)
		n.Start(state)
	case 10: // routes change
		n := pick(x.script, x.c.Nodes)
		n.SetKernel(append(slices.Clone(n.Kernel[:3]), nhrptest.Route{
			Prefix: netip.PrefixFrom(pick(x.script, fuzzProtocol[:10]), 16+int(x.octet()%17)).Masked(), NextHop: pick(x.script, fuzzProtocol[:4]), Tunnel: x.octet()&1 != 0,
		}))
	case 11: // what the data plane reports
		data := make([]byte, 28)
		data[0] = 0x45
		copy(data[12:], pick(x.script, fuzzProtocol[:13]).AsSlice())
		copy(data[16:], pick(x.script, fuzzProtocol[:13]).AsSlice())
		n := pick(x.script, x.c.Nodes)
		n.Input(engine.Redirect{Data: mutate(data, x.mutations())})
		n.Input(engine.Miss{NextHop: pick(x.script, fuzzProtocol), Data: data})
	case 12:
		n := pick(x.script, x.c.Nodes)
		n.Input(engine.Resolved{Name: "hub.example", Addresses: []netip.Addr{pick(x.script, fuzzNBMA), pick(x.script, fuzzNBMA)}})
		at := engine.Endpoint{NBMA: pick(x.script, fuzzNBMA)}
		if x.unsecured[at.NBMA] = x.octet()&1 != 0; x.unsecured[at.NBMA] {
			n.Input(engine.Unsecured{To: at})
		} else {
			n.Input(engine.Secured{To: at})
		}
	case 13: // packet after packet, each from another address
		data := x.rewrite(pick(x.script, x.packets))
		for i := range x.octet() % 64 {
			x.stimuli++
			x.c.Run(10 * time.Millisecond)
			x.deliver(pick(x.script, x.c.Nodes), netip.AddrFrom4([4]byte{198, 18, i, 1}), data)
		}
	case 14: // somebody clears shortcuts
		n, c := pick(x.script, x.c.Nodes), engine.Clear{}
		if a := pick(x.script, fuzzProtocol); a.IsValid() {
			c.Within = []netip.Prefix{netip.PrefixFrom(a, 8+int(x.octet()%25)).Masked()}
		}
		n.Input(c)
	}
}

// run lets time pass; memories are exchanged only in a short one, for that takes
// long.
func (x *fuzzed) run(d time.Duration) {
	x.c.Reimport = x.reimport && d <= 2*time.Second
	x.c.Run(d)
	x.c.Reimport = x.reimport
}

// source is an address of a node's LAN.
func source(n *nhrptest.Node) netip.Addr { return n.Config.Networks[0].Addr().Next() }

// input gives a packet to a node.
func (x *fuzzed) input(data []byte) {
	x.deliver(pick(x.script, x.c.Nodes), pick(x.script, fuzzNBMA), data)
}

func (x *fuzzed) deliver(n *nhrptest.Node, from netip.Addr, data []byte) {
	n.Input(engine.Packet{From: engine.Endpoint{NBMA: from, Identity: pick(x.script, fuzzIdentities)}, Data: data})
}

// heal gives addresses, routes and wires back.
func (x *fuzzed) heal() {
	x.c.Cut = func(a, b netip.Addr) bool { return false }
	for a := range x.unsecured {
		x.unsecured[a] = false
		for _, n := range x.c.Nodes {
			n.Input(engine.Secured{To: engine.Endpoint{NBMA: a}})
		}
	}
	for i, n := range x.c.Nodes {
		n.Move(fuzzNBMA[i].String())
		n.SetKernel(append(slices.Clone(n.Kernel[:3]), nhrptest.Route{Prefix: n.Config.Networks[0]}))
	}
}

// captures are the NHRP packets of the codec's captures.
func captures(f testing.TB) (all [][]byte) {
	files, err := filepath.Glob("../wire/testdata/nhrp/*.pcap")
	if err != nil || len(files) == 0 {
		f.Fatalf("no captures: %v", err)
	}
	for _, file := range files {
		for _, frame := range capture(f, filepath.Base(file[:len(file)-len(".pcap")])) {
			all = append(all, frame.data)
		}
	}
	return all
}

// A mutation changes an octet.
type mutation struct {
	at    uint16
	value byte
}

func (s *script) mutations() []mutation {
	list := make([]mutation, s.octet()%5)
	for i := range list {
		list[i] = mutation{s.word(), s.octet()}
	}
	return list
}

// mutate changes a copy of a packet, and puts size and checksum right, without
// which nothing of it would be looked at.
func mutate(data []byte, list []mutation) []byte {
	b := slices.Clone(data)
	for _, m := range list {
		if len(b) > 0 {
			b[int(m.at)%len(b)] ^= m.value
		}
	}
	if len(b) >= 20 && len(list) > 0 && list[0].value&1 == 0 {
		binary.BigEndian.PutUint16(b[10:], uint16(len(b)))
		b = sealed(b)
	}
	return b
}

// rewrite changes fields of a packet to what means something here.
func (x *fuzzed) rewrite(data []byte) []byte {
	p, err := wire.Decode(data)
	if err != nil {
		return mutate(data, x.mutations())
	}
	p = p.Clone()
	for range x.octet() % 6 {
		x.rewriteField(p)
	}
	b, err := p.Marshal()
	if err != nil {
		b = data
	}
	return mutate(b, x.mutations())
}

func (x *fuzzed) rewriteField(p *wire.Packet) {
	field := x.octet() % 16
	if field >= 8 && field < 14 && len(p.CIEs) == 0 {
		p.CIEs = make([]wire.CIE, 1)
	}
	var c *wire.CIE
	if len(p.CIEs) > 0 {
		c = &p.CIEs[len(p.CIEs)-1]
	}
	switch field {
	case 0:
		p.Type = pick(x.script, fuzzTypes)
	case 1:
		p.Flags ^= 1 << (x.octet() % 16)
	case 2:
		p.SourceNBMA = pick(x.script, fuzzNBMA)
	case 3:
		p.SourceProtocol = pick(x.script, fuzzProtocol)
	case 4:
		p.DestinationProtocol = pick(x.script, fuzzProtocol)
	case 5: // the id of a request that may be waited for
		if q, err := wire.Decode(pick(x.script, x.packets[max(0, len(x.packets)-256):])); err == nil {
			p.RequestID = q.RequestID
		}
	case 6:
		p.HopCount = x.octet()
	case 7:
		p.Contents = slices.Clone(pick(x.script, x.packets))
	case 8:
		p.CIEs = append(p.CIEs, *c)
	case 9:
		c.Code = wire.Code(x.octet() % 16)
	case 10:
		c.PrefixLength = x.octet()
	case 11:
		c.HoldingTime, c.MTU = x.word(), x.word()
	case 12:
		c.NBMA, c.Preference = pick(x.script, fuzzNBMA), x.octet()
	case 13:
		c.Protocol = pick(x.script, fuzzProtocol)
	case 14:
		kind := wire.ExtensionType(x.octet() % 10)
		if e, err := p.NewEntries(kind, wire.CIE{NBMA: pick(x.script, fuzzNBMA), Protocol: pick(x.script, fuzzProtocol)}); err == nil {
			e.Compulsory = x.octet()&1 != 0
			p.SetExtension(e)
		}
	case 15:
		if len(p.Extensions) > 0 {
			p.Extensions = slices.Delete(p.Extensions, 0, 1)
		}
	}
}
