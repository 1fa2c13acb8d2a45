// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab/cloud"
)

// A state is that of a link in the picture; it is its class there too.
type state string

const (
	stateHub  state = "hub"  // SAs of a spoke with the hub
	stateCut  state = "cut"  // a shortcut: routes and SAs at both ends
	stateGone state = "gone" // there was a shortcut, now it goes by the hub
	stateNone state = "none" // no SA
)

// A link is one between hub (0) and spoke, or two spokes.
type link struct {
	state   state
	at      [2]netip.AddrPort // of the first as the other sees it, and of the other as the first does
	suite   string
	packets uint64
}

// ends are the two addresses, with ports where a NAT has changed one.
func (l link) ends() string {
	if a, b := l.at[0], l.at[1]; a.Port() == b.Port() {
		return fmt.Sprintf("%v ↔ %v", a.Addr(), b.Addr())
	}
	return fmt.Sprintf("%v ↔ %v", l.at[0], l.at[1])
}

// A scene is what stands, as the daemons say.
type scene struct {
	links map[pair]link
}

// stands asks the daemons.
func (s *story) stands(ctx context.Context) scene {
	sc := scene{links: map[pair]link{}}
	name := func(n int) string {
		if n == 0 {
			return "hub"
		}
		return fmt.Sprint("spoke", n)
	}
	for a := range len(s.Spokes) + 1 {
		for b := a + 1; b <= len(s.Spokes); b++ {
			there, errA := s.Secured(ctx, name(a), name(b))
			here, errB := s.Secured(ctx, name(b), name(a))
			l := link{state: stateNone}
			switch p := (pair{a, b}); {
			case errA == nil && errB == nil && a == 0:
				l = between(stateHub, here, there)
			case errA == nil && errB == nil && s.Direct(ctx, name(a), cloud.Network(b)) == nil && s.Direct(ctx, name(b), cloud.Network(a)) == nil:
				l = between(stateCut, here, there)
			case s.had[p]:
				l.state = stateGone
			}
			sc.links[pair{a, b}] = l
		}
	}
	return sc
}

// between is a link of one end's SA, and of the other's.
func between(st state, here, there control.IKESA) link {
	l := link{state: st, at: [2]netip.AddrPort{here.Remote, there.Remote}, suite: there.Suite}
	for _, c := range there.Children {
		l.packets += c.Packets
	}
	return l
}

// draw writes what stands to the picture's file.
func (s *story) draw(ctx context.Context) error {
	if err := os.WriteFile(s.svg, []byte(s.stands(ctx).picture()), 0o644); err != nil {
		return fmt.Errorf("the picture: %w", err)
	}
	return nil
}

// The picture's places.
const (
	sheetWidth, sheetHeight = 1000, 680
	boxWidth, boxHeight     = 176, 62
)

type place struct{ x, y int } // of a box's middle

var (
	hubPlace    = place{490, 112}
	natPlace    = place{690, 352}
	spokePlaces = []place{{}, {160, 474}, {530, 474}, {850, 474}}
)

// picture draws the scene.
func (sc scene) picture() string {
	s := &sheet{width: sheetWidth, height: sheetHeight}
	s.box("ground", 1, 1, sheetWidth-2, sheetHeight-2, 14)
	s.text("title", 28, 40, "A DMVPN in namespaces, as its daemons say it stands")
	s.box("net", 40, 196, sheetWidth-80, 92, 46)
	s.text("name mid", 860, 238, "the Internet")
	s.text("faint mid", 860, 256, "knows nothing of 10.x")
	s.box("zone", 420, 330, 554, 278, 16)
	s.text("mono mid", 690, 596, "192.168.1.0/24, behind one address")
	sc.wires(s)
	s.node("box", hubPlace, "hub", cloud.HubNBMA().String(), "tunnel "+cloud.HubTunnel().String())
	s.lan(place{hubPlace.x + 210, hubPlace.y}, "host0", cloud.Host(0), fmt.Sprintf("M%d %d H%d", hubPlace.x+boxWidth/2, hubPlace.y, hubPlace.x+160))
	s.node("natbox", natPlace, "NAT", cloud.NATAddress(1).String())
	for n := 1; n < len(spokePlaces); n++ {
		at, p := cloud.NBMA(n), spokePlaces[n]
		if n > 1 {
			at = cloud.Private(1, n)
		}
		s.node("box", p, fmt.Sprint("spoke", n), at.String(), "tunnel "+cloud.TunnelAddress(n).String())
		s.lan(place{p.x, p.y + 76}, fmt.Sprint("host", n), cloud.Host(n), fmt.Sprintf("M%d %d V%d", p.x, p.y+boxHeight/2, p.y+62))
	}
	sc.labels(s)
	sc.legend(s)
	return s.document("Hub, three spokes, two of them behind a NAT, and the SAs between them")
}

// node draws a machine.
func (s *sheet) node(class string, at place, name string, lines ...string) {
	s.box(class, at.x-boxWidth/2, at.y-boxHeight/2, boxWidth, boxHeight, 10)
	y := at.y - 12
	if len(lines) < 2 {
		y += 7
	}
	s.text("name mid", at.x, y, name)
	for i, l := range lines {
		s.text("mono mid", at.x, y+17+i*16, l)
	}
}

// lan draws a host and the wire to it.
func (s *sheet) lan(at place, name string, address netip.Addr, wire string) {
	s.line("link lan", wire)
	s.text("name mid", at.x, at.y, name)
	s.text("mono mid", at.x, at.y+16, address.String())
}

// ways are those of the links between their boxes.
var ways = map[pair]string{
	{0, 1}: "M430 143 C 400 230, 170 300, 138 443",
	{0, 2}: "M490 143 C 500 240, 640 240, 660 321 L 660 383 C 656 416, 530 400, 516 443",
	{0, 3}: "M550 143 C 590 220, 708 240, 718 321 L 718 383 C 724 410, 830 400, 842 443",
	{1, 2}: "M180 443 C 230 260, 590 230, 640 321 L 640 383 C 630 404, 490 395, 476 443",
	{1, 3}: "M216 443 C 330 250, 680 200, 738 321 L 738 383 C 750 404, 880 396, 884 443",
	{2, 3}: "M586 505 C 606 556, 774 556, 794 505",
}

// order is who is drawn first, below the others.
var order = []pair{{1, 3}, {0, 1}, {0, 2}, {0, 3}, {1, 2}, {2, 3}}

func (sc scene) wires(s *sheet) {
	for _, p := range order {
		l := sc.links[p]
		s.line("link "+string(l.state), ways[p])
		if l.state == stateHub || l.state == stateCut {
			s.line("link flow", ways[p])
		}
	}
}

// labels say what is on the links.
func (sc scene) labels(s *sheet) {
	places := map[pair]place{{0, 1}: {290, 234}, {0, 2}: {512, 204}, {0, 3}: {664, 228}, {1, 2}: {268, 328}, {1, 3}: {318, 398}, {2, 3}: {690, 544}}
	for _, p := range order {
		l, at := sc.links[p], places[p]
		switch {
		case l.state == stateCut:
			s.pill("cut", at.x, at.y, l.ends(), fmt.Sprintf("%d packets, direct", l.packets))
		case l.state == stateGone:
			s.pill("gone", at.x, at.y, fmt.Sprintf("spoke%d ↔ spoke%d", p.from, p.to), "expired: by the hub")
		case l.state == stateNone && p.from == 0:
			s.pill("none", at.x, at.y, "no SA")
		case l.state == stateHub:
			s.pill("hub", at.x, at.y, l.at[1].String())
		}
	}
}

// legend explains the lines.
func (sc scene) legend(s *sheet) {
	x, y := 130, sheetHeight-42
	for _, e := range []struct {
		state state
		text  string
	}{
		{stateHub, "IKE and ESP with the hub"}, {stateCut, "shortcut: IKE and ESP directly"}, {stateGone, "expired: SAs gone, by the hub"},
	} {
		s.line("link "+string(e.state), fmt.Sprintf("M%d %d h34", x, y-4))
		s.text("faint", x+44, y, e.text)
		x += 252
	}
	if suite := sc.links[pair{0, 1}].suite; suite != "" {
		s.text("mono mid", sheetWidth/2, sheetHeight-16, strings.ReplaceAll(suite, "-", " · "))
	}
}
