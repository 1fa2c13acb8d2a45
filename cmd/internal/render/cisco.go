// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"dmvpn/cmd/internal/control"
)

// DMVPN is what `show dmvpn` is made of.
type DMVPN struct {
	Tunnels []control.Tunnel `json:"tunnels"`
	Peers   []control.Peer   `json:"peers"`
	Servers []control.NHS    `json:"nhs"`
	Entries []control.Entry  `json:"nhrp"`
}

// row is one line of `show dmvpn`.
type row struct {
	entries  int
	nbma     netip.Addr
	protocol netip.Addr
	state    string
	since    time.Time
	flags    string
}

// ShowDMVPN writes the display that operators know: for each tunnel its peers
// with NBMA and tunnel address, state, time and attributes.
func ShowDMVPN(w io.Writer, now time.Time, d DMVPN) error {
	out := []string{
		"Attributes: S static, D dynamic, I incomplete, N behind NAT, T1 route installed",
		"# Ent: NHRP entries that lead to the peer",
		"UpDn Tm: how long the peer has been up or down",
		strings.Repeat("=", 74),
	}
	for _, t := range d.Tunnels {
		kind := "Spoke"
		if t.Hub() {
			kind = "Hub"
		}
		for _, own := range addressesOf(t) {
			family := "IPv4"
			if own.Addr().Is6() {
				family = "IPv6"
			}
			rows := d.of(own.Addr()).rows(t.Name)
			out = append(out, "", fmt.Sprintf("Interface: %s, %s NHRP Details", t.Name, family),
				fmt.Sprintf("Type:%s, NHRP Peers:%d,", kind, len(rows)), "",
				" # Ent  Peer NBMA Addr Peer Tunnel Add State  UpDn Tm Attrb",
				" ----- --------------- --------------- ----- -------- -----")
			for _, r := range rows {
				out = append(out, fmt.Sprintf(" %5d %15s %15s %5s %8s %5s", r.entries, or(address(r.nbma), "UNKNOWN"),
					or(address(r.protocol), "UNKNOWN"), r.state, or(since(now, r.since), "never"), r.flags))
			}
		}
	}
	return lines(w, out)
}

// of gives what there is of the family of a tunnel's own address.
func (d DMVPN) of(own netip.Addr) DMVPN {
	out := DMVPN{Tunnels: d.Tunnels, Entries: OfFamily(d.Entries, own.Is6())}
	for _, s := range d.Servers {
		if !s.Protocol.IsValid() && own.Is4() || s.Protocol.BitLen() == own.BitLen() {
			out.Servers = append(out.Servers, s)
		}
	}
	for _, p := range d.Peers {
		i := slices.IndexFunc(p.NextHops, func(a netip.Addr) bool { return a.BitLen() == own.BitLen() })
		switch {
		case i >= 0 && p.Protocol.BitLen() != own.BitLen():
			p.Protocol = p.NextHops[i]
		case i < 0 && p.Protocol.IsValid() && p.Protocol.BitLen() != own.BitLen():
			continue
		}
		out.Peers = append(out.Peers, p)
	}
	return out
}

// OfFamily gives the entries of IPv6, or those of IPv4.
func OfFamily(entries []control.Entry, six bool) (out []control.Entry) {
	for _, e := range entries {
		if e.Prefix.Addr().Is6() == six {
			out = append(out, e)
		}
	}
	return out
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// rows are the lines of one tunnel: servers first, as configured, then the
// other peers by tunnel address, then what is being asked for.
func (d DMVPN) rows(tunnel string) []row {
	var rows []row
	servers := map[netip.Addr]bool{}
	for _, s := range d.Servers {
		if s.Tunnel != tunnel {
			continue
		}
		servers[s.NBMA] = true
		r := row{entries: max(1, d.leadTo(tunnel, s.NBMA)), nbma: s.NBMA, protocol: s.Protocol, state: "NHRP", since: s.Since, flags: "S"}
		if s.State == control.NHSUp || s.State == control.NHSRenewing {
			r.state = "UP"
		}
		rows = append(rows, r)
	}
	first := len(rows)
	for _, p := range d.Peers {
		if p.Tunnel != tunnel || servers[p.NBMA] {
			continue
		}
		r := row{entries: d.leadTo(tunnel, p.NBMA), nbma: p.NBMA, protocol: p.Protocol, state: "UP", since: p.Since, flags: "D"}
		if !p.Up {
			r.state = "DOWN"
		}
		if p.NAT.IsValid() {
			r.flags += "N"
		}
		if d.routed(tunnel, p.NBMA) {
			r.flags += "T1"
		}
		rows = append(rows, r)
	}
	slices.SortStableFunc(rows[first:], func(a, b row) int { return a.protocol.Compare(b.protocol) })
	for _, e := range d.Entries {
		if e.Tunnel == tunnel && e.Type == control.EntryIncomplete {
			rows = append(rows, row{entries: 1, protocol: e.Prefix.Addr(), state: "NHRP", since: e.Created, flags: "I"})
		}
	}
	return rows
}

func (d DMVPN) leadTo(tunnel string, nbma netip.Addr) int {
	n := 0
	for _, e := range d.Entries {
		if e.Tunnel == tunnel && e.NBMA == nbma && nbma.IsValid() {
			n++
		}
	}
	return n
}

func (d DMVPN) routed(tunnel string, nbma netip.Addr) bool {
	return slices.ContainsFunc(d.Entries, func(e control.Entry) bool {
		return e.Tunnel == tunnel && e.NBMA == nbma && slices.Contains(e.Flags, control.FlagRoute)
	})
}

// ShowIPNHRP writes the cache as routers do.
func ShowIPNHRP(w io.Writer, now time.Time, entries []control.Entry) error {
	if len(entries) == 0 {
		return lines(w, []string{"the NHRP cache is empty"})
	}
	var out []string
	for _, e := range entries {
		via := ""
		if e.NextHop.IsValid() {
			via = " via " + e.NextHop.String()
		}
		expires := "never expire"
		if !e.Expires.IsZero() {
			expires = "expire " + until(now, e.Expires)
		}
		created := ""
		if !e.Created.IsZero() {
			created = " created " + since(now, e.Created) + ","
		}
		out = append(out, e.Prefix.String()+via, fmt.Sprintf("   %s%s %s", e.Tunnel, created, expires))
		kind := "   Type: " + e.Type
		if len(e.Flags) > 0 {
			kind += ", Flags: " + strings.Join(e.Flags, " ")
		}
		out = append(out, kind)
		if e.Reason != "" {
			out = append(out, "   Reason: "+e.Reason)
		}
		if e.NBMA.IsValid() {
			out = append(out, "   NBMA address: "+endpoint(e.NBMA, e.Port))
		}
		if e.Group != "" {
			out = append(out, fmt.Sprintf("   Group: %q", e.Group))
		}
		if e.Claimed.IsValid() {
			out = append(out, "    (Claimed NBMA address: "+e.Claimed.String()+")")
		}
	}
	return lines(w, out)
}
