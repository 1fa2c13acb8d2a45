// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"dmvpn/cmd/internal/control"
)

// Peers writes GET /v1/peers.
func Peers(w io.Writer, now time.Time, peers []control.Peer) error {
	t := newTable("TUNNEL", ">ID", "NBMA", "PROTOCOL", "KIND", "STATE", "UP", ">MTU", ">RX", ">TX", "LAST RX", "LAST TX", "IDENTITY")
	for _, p := range peers {
		state := "down"
		if p.Up {
			state = "up"
		}
		nbma := endpoint(p.NBMA, p.Port)
		if p.NAT.IsValid() {
			nbma += " (NAT, " + p.NAT.String() + ")"
		}
		t.add(p.Tunnel, count(uint64(p.ID)), nbma, protocols(p), p.Kind, state, since(now, p.Since),
			count(uint64(p.MTU)), octets(p.RxBytes), octets(p.TxBytes), since(now, p.RxLast), since(now, p.TxLast), p.Identity)
	}
	return t.write(w, "no peer")
}

// protocols are a peer's overlay address and, of another family, what else leads to it.
func protocols(p control.Peer) string {
	list := []string{address(p.Protocol)}
	for _, a := range p.NextHops {
		if p.Protocol.IsValid() && a.BitLen() != p.Protocol.BitLen() && !a.IsLinkLocalUnicast() {
			list = append(list, a.String())
		}
	}
	return strings.Join(list, " ")
}

// NHRP writes GET /v1/nhrp.
func NHRP(w io.Writer, now time.Time, entries []control.Entry) error {
	t := newTable("TUNNEL", "PREFIX", "NEXT HOP", "NBMA", "TYPE", "EXPIRES", "FLAGS")
	for _, e := range entries {
		t.add(e.Tunnel, host(e.Prefix), address(e.NextHop), endpoint(e.NBMA, e.Port), e.Type, until(now, e.Expires),
			strings.Join(named(named(e.Flags, "group", e.Group), "reason", e.Reason), " "))
	}
	return t.write(w, "the NHRP cache is empty")
}

// named adds a name and its value to flags, if there is one.
func named(flags []string, name, value string) []string {
	if value == "" {
		return flags
	}
	return append(slices.Clone(flags), fmt.Sprintf("%s=%q", name, value))
}

// NHS writes GET /v1/nhs. What clusters are about is shown where one is configured.
func NHS(w io.Writer, now time.Time, servers []control.NHS) error {
	t := newTable("TUNNEL", "SERVER", "NBMA", "PROTOCOL", ">PRIORITY", ">CLUSTER", ">MAX", "STATE", "SINCE", ">SENT", ">ANSWERED", "NEXT TRY", "ROUTES")
	var errors []string
	clusters, limits := false, false
	for _, n := range servers {
		var routes []string
		for _, r := range n.Routes {
			routes = append(routes, r.String())
		}
		next := ""
		if !n.NextTry.IsZero() {
			next = until(now, n.NextTry)
		}
		most := ""
		if n.Most > 0 {
			most = count(uint64(n.Most))
		}
		clusters, limits = clusters || n.Cluster != 0, limits || n.Most > 0
		t.add(n.Tunnel, n.Name, address(n.NBMA), address(n.Protocol), fmt.Sprint(n.Priority), fmt.Sprint(n.Cluster), most, n.State, since(now, n.Since),
			count(n.Requests), count(n.Replies), next, strings.Join(routes, " "))
		if n.LastError != "" {
			errors = append(errors, fmt.Sprintf("%s: %s: %s", n.Tunnel, n.Name, n.LastError))
		}
	}
	t.only(clusters, "CLUSTER")
	t.only(limits, "MAX")
	if err := t.write(w, "no next hop server is configured: this is a hub"); err != nil {
		return err
	}
	return lines(w, errors)
}

// Shortcuts writes GET /v1/shortcuts.
func Shortcuts(w io.Writer, now time.Time, shortcuts []control.Shortcut) error {
	t := newTable("TUNNEL", "PREFIX", "NEXT HOP", "NBMA", "STATE", "AGE", "EXPIRES", "REASON")
	for _, s := range shortcuts {
		t.add(s.Tunnel, host(s.Prefix), address(s.NextHop), endpoint(s.NBMA, s.Port), s.State,
			since(now, s.Created), until(now, s.Expires), s.Reason)
	}
	return t.write(w, "no shortcut: everything goes by way of the hub")
}

// Cleared writes the answer to POST /v1/shortcuts/clear.
func Cleared(w io.Writer, _ time.Time, c control.Cleared) error {
	_, err := fmt.Fprintf(w, "%s and %s ended\n", several(c.Shortcuts, "shortcut", "shortcuts"), several(c.Negatives, "negative entry", "negative entries"))
	return err
}

func several(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// Drops writes GET /v1/drops.
func Drops(w io.Writer, drops []control.Drop) error {
	t := newTable("TUNNEL", ">PEER", "NBMA", "PROTOCOL", "REASON", ">PACKETS", ">OCTETS")
	for _, d := range drops {
		id := ""
		if d.Peer != 0 {
			id = count(uint64(d.Peer))
		}
		t.add(d.Tunnel, id, address(d.NBMA), address(d.Protocol), d.Reason, count(d.Packets), count(d.Bytes))
	}
	return t.write(w, "nothing was dropped")
}

func lines(w io.Writer, text []string) error {
	for _, l := range text {
		if _, err := fmt.Fprintln(w, l); err != nil {
			return err
		}
	}
	return nil
}
