// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"io"
	"strings"
	"time"

	"dmvpn/cmd/internal/control"
)

// IKE writes GET /v1/ike: the IKE SAs, their Child SAs, and whom we do not reach.
func IKE(w io.Writer, now time.Time, k control.IKE) error {
	t := newTable("TUNNEL", ">ID", "PEER", "REMOTE", "STATE", "SUITE", "AGE", "REKEY IN", "NOTES")
	c := newTable("TUNNEL", ">IKE", "IN", "OUT", "STATE", "MODE", "SUITE", ">PACKETS", ">OCTETS", "AGE", "REKEY IN", "DROPPED")
	for _, s := range k.SAs {
		t.add(s.Tunnel, count(s.ID), s.RemoteID, s.Remote.String(), s.State, s.Suite, since(now, s.Since), planned(now, s.Rekey), notes(s))
		for _, x := range s.Children {
			mode := x.Mode
			if x.Encapsulation {
				mode += " in UDP"
			}
			c.add(s.Tunnel, count(s.ID), x.Inbound, x.Outbound, x.State, mode, x.Suite, count(x.Packets), count(x.Octets), since(now, x.Since), planned(now, x.Rekey), dropped(x.Dropped))
		}
	}
	if err := t.write(w, "no IKE SA"); err != nil {
		return err
	}
	if len(c.lines) > 1 {
		if err := lines(w, []string{"", "Child SAs"}); err != nil {
			return err
		}
		if err := c.write(w, ""); err != nil {
			return err
		}
	}
	return lines(w, missed(now, k.Wants))
}

// dropped names the reasons that there were, as `dmvpn drops` does.
func dropped(d control.ESPDrops) string {
	var all []string
	for _, r := range []struct {
		name    string
		packets uint64
	}{{"replay", d.Replay}, {"integrity", d.Integrity}, {"truncated", d.Truncated}} {
		if r.packets > 0 {
			all = append(all, r.name+" "+count(r.packets))
		}
	}
	return strings.Join(all, ", ")
}

// planned writes how long it is to t, nothing where it is not planned.
func planned(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return until(now, t)
}

func notes(s control.IKESA) string {
	var all []string
	for _, n := range []struct {
		is   bool
		text string
	}{
		{s.Group, "group key"}, {s.NATLocal, "we are behind NAT"}, {s.NATRemote, "peer is behind NAT"},
		{s.Repeats > 0, fmt.Sprintf("%d repeats unanswered", s.Repeats)},
	} {
		if n.is {
			all = append(all, n.text)
		}
	}
	return strings.Join(all, ", ")
}

// missed says why peers are not connected that should be.
func missed(now time.Time, wants []control.IKEWant) (out []string) {
	for _, x := range wants {
		if x.Up || x.Reason == "" {
			continue
		}
		host := x.Host
		if x.Remote.IsValid() && x.Remote.String() != host {
			host += " (" + x.Remote.String() + ")"
		}
		line := fmt.Sprintf("%s: %s: %s", x.Tunnel, host, x.Reason)
		if !x.Retry.IsZero() {
			line += "; next try in " + until(now, x.Retry)
		}
		if out == nil {
			out = append(out, "")
		}
		out = append(out, line)
	}
	return out
}

// IKELine writes one line of GET /v1/ike/trace, as tcpdump would: from whom to whom.
func IKELine(w io.Writer, zone *time.Location, l control.IKELine) error {
	if l.Missed > 0 {
		if _, err := fmt.Fprintf(w, "(%d messages are missing here: they came too fast)\n", l.Missed); err != nil {
			return err
		}
	}
	from, to := l.Remote, l.Local
	if l.Out {
		from, to = to, from
	}
	_, err := fmt.Fprintf(w, "%s %s > %s %s\n", l.Time.In(zone).Format("15:04:05.000"), from, to, l.Message)
	return err
}
