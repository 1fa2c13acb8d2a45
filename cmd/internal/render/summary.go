// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"dmvpn/cmd/internal/control"
)

// Summary writes GET /v1/status: what a person wants to know first.
func Summary(w io.Writer, now time.Time, s control.Status) error {
	out := []string{fmt.Sprintf("dmvpnd %s, instance %s, process %d, up %s", s.Version, s.Instance, s.PID, since(now, s.Started))}
	for _, t := range s.Tunnels {
		out = append(out, "", tunnelTitle(t))
		out = append(out, "  "+underlay(t))
		out = append(out, fmt.Sprintf("  MTU %d, protection %s, %s, %s", t.MTU, t.Protection, yes(t.Redirect, "redirect"), yes(t.Shortcut, "shortcut")))
		out = append(out, "  "+counts(t))
		if len(t.Queues) > 0 {
			out = append(out, "  "+queues(t))
		}
		for _, p := range t.Problems {
			out = append(out, "  ! "+p)
		}
	}
	return lines(w, out)
}

func tunnelTitle(t control.Tunnel) string {
	role := "spoke"
	if t.Hub() {
		role = "hub"
	}
	carrier := "up"
	if !t.Carrier {
		carrier = "no carrier"
		if t.IfState == "nhrp" {
			carrier = "no carrier (if-state nhrp: no server answers)"
		}
	}
	var addresses []string
	for _, p := range addressesOf(t) {
		addresses = append(addresses, p.String())
	}
	text := fmt.Sprintf("%s: %s, %s, %s", t.Name, role, strings.Join(addresses, " and "), carrier)
	if t.VRF != "" {
		text += ", in VRF " + t.VRF
	} else if t.Table != 0 {
		text += fmt.Sprintf(", routes in table %d", t.Table)
	}
	return text
}

// addressesOf are the tunnel's, one of each family.
func addressesOf(t control.Tunnel) []netip.Prefix {
	if len(t.Addresses) > 0 {
		return t.Addresses
	}
	return []netip.Prefix{t.Address}
}

func underlay(t control.Tunnel) string {
	text := "underlay " + t.Underlay.Device
	for _, a := range []netip.Addr{t.NBMA, t.NBMA6} {
		if a.IsValid() {
			text += " " + a.String()
		}
	}
	if !t.NBMA.IsValid() && !t.NBMA6.IsValid() {
		text += " without an address"
	}
	if t.Underlay.VRF != "" {
		text += ", VRF " + t.Underlay.VRF
	}
	if t.Underlay.Mark != 0 {
		text += fmt.Sprintf(", mark %#x", t.Underlay.Mark)
	}
	if t.Key != nil {
		text += fmt.Sprintf(", key %d", *t.Key)
	}
	if t.Attach != "" {
		text += ", programs by " + t.Attach
	}
	return text
}

func counts(t control.Tunnel) string {
	text := fmt.Sprintf("peers %d", t.Peers)
	if t.Hub() || t.Registered > 0 {
		text += fmt.Sprintf(", registered %d", t.Registered)
	}
	if !t.Hub() {
		text += fmt.Sprintf(", servers up %d of %d, shortcuts %d", t.NHSUp, t.NHS, t.Shortcuts)
	}
	return text
}

// queues gives what each queue's worker took from the device and gave to it.
func queues(t control.Tunnel) string {
	var sent, received []string
	for _, q := range t.Queues {
		sent, received = append(sent, count(q.Sent)), append(received, count(q.Received))
	}
	text := fmt.Sprintf("queues %d, packets sent %s, received %s", len(t.Queues), strings.Join(sent, " + "), strings.Join(received, " + "))
	if t.Overflows > 0 {
		text += fmt.Sprintf(", without room %s", count(t.Overflows))
	}
	return text
}

// Stats writes GET /v1/stats, and below it what was dropped.
func Stats(w io.Writer, now time.Time, s control.Stats, drops []control.Drop) error {
	for i, t := range s.Tunnels {
		if i > 0 {
			if err := lines(w, []string{""}); err != nil {
				return err
			}
		}
		if err := tunnelStats(w, now, t); err != nil {
			return err
		}
	}
	if err := counters(w, "IKE", s.IKE); err != nil {
		return err
	}
	if len(drops) == 0 {
		return lines(w, []string{"", "nothing was dropped"})
	}
	if err := lines(w, []string{"", "dropped"}); err != nil {
		return err
	}
	return Drops(w, drops)
}

func tunnelStats(w io.Writer, now time.Time, s control.TunnelStats) error {
	t := newTable(s.Tunnel, ">RX PACKETS", ">RX OCTETS", ">TX PACKETS", ">TX OCTETS", "LAST RX", "LAST TX")
	line := func(name string, c control.Traffic) {
		t.add(name, count(c.RxPackets), count(c.RxBytes), count(c.TxPackets), count(c.TxBytes), since(now, c.RxLast), since(now, c.TxLast))
	}
	for _, p := range s.Peers {
		name := address(p.Protocol)
		if name == "" {
			name = address(p.NBMA)
		}
		line(fmt.Sprintf("peer %d %s", p.ID, name), p.Traffic)
	}
	line("all peers", s.Data)
	if err := t.write(w, ""); err != nil {
		return err
	}
	return counters(w, "NHRP", s.NHRP)
}

// counters writes those that counted something, below an empty line.
func counters(w io.Writer, title string, all map[string]uint64) error {
	n := newTable(title, ">COUNT")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name] > 0 {
			n.add(name, count(all[name]))
		}
	}
	if len(n.lines) == 1 {
		return nil
	}
	if err := lines(w, []string{""}); err != nil {
		return err
	}
	return n.write(w, "")
}
