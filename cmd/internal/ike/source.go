// SPDX-License-Identifier: Apache-2.0

package ike

import (
	"context"
	"errors"

	"dmvpn/cmd/internal/control"
	"dmvpn/ikev2"
)

// errNone is what an *IKE that is nil answers.
var errNone = errors.New("no tunnel has IKE: [tunnel.NAME.ipsec] in the configuration gives it one")

// IKE implements control.IKESource.
func (k *IKE) IKE(ctx context.Context) (control.IKE, error) {
	if k == nil {
		return control.IKE{SAs: []control.IKESA{}, Wants: []control.IKEWant{}, Counters: map[string]uint64{}}, nil
	}
	s, err := k.service.Snapshot(ctx)
	if err != nil {
		return control.IKE{}, err
	}
	return describe(s, k.counters(s), k.used), nil
}

// IKERekey implements control.IKESource.
func (k *IKE) IKERekey(ctx context.Context, peer string, child bool) (control.IKEDone, error) {
	if k == nil {
		return control.IKEDone{}, errNone
	}
	n, err := k.service.Rekey(ctx, peer, child)
	return control.IKEDone{SAs: n}, err
}

// IKETerminate implements control.IKESource.
func (k *IKE) IKETerminate(ctx context.Context, peer string, child bool) (control.IKEDone, error) {
	if k == nil {
		return control.IKEDone{}, errNone
	}
	n, err := k.service.Terminate(ctx, peer, child)
	return control.IKEDone{SAs: n}, err
}

// IKETrace implements control.IKESource.
func (k *IKE) IKETrace(ctx context.Context, peer string, follow bool, each func(control.IKELine) error) error {
	if k == nil {
		return errNone
	}
	var t *ikev2.Trace
	var err error
	if peer == "" {
		t, err = k.service.Trace()
	} else {
		addresses, unknown := k.service.Addresses(ctx, peer)
		if unknown != nil {
			return unknown
		}
		t, err = k.service.Trace(addresses...)
	}
	if err != nil {
		return err
	}
	defer t.Close()
	// An empty line tells the reader that from now on nothing escapes it.
	if err := each(control.IKELine{}); err != nil {
		return err
	}
	for _, l := range t.Last {
		if err := each(line(l)); err != nil {
			return err
		}
	}
	for follow {
		select {
		case <-ctx.Done():
			return nil
		case l, more := <-t.Lines:
			if !more {
				return nil
			}
			if err := each(line(l)); err != nil {
				return err
			}
		}
	}
	return nil
}

func line(l ikev2.Line) control.IKELine {
	return control.IKELine{Time: l.Time, Local: l.Local, Remote: l.Remote, Out: l.Out, Message: l.Message, Missed: l.Missed}
}

// Counters gives what /v1/ike and /v1/stats have by name.
func (k *IKE) counters(s ikev2.Snapshot) map[string]uint64 {
	m, c := s.Counters, k.service.Counters()
	all := map[string]uint64{
		"half-open": uint64(m.HalfOpen), "established": uint64(m.Established), "children": uint64(m.Children), "attempts": uint64(m.Attempts),
		"initial-requests": m.InitReceived, "cookies-sent": m.CookiesSent, "half-open-refused": m.HalfOpenRefused, "half-open-expired": m.HalfOpenExpired,
		"authentication-failed": m.AuthFailed, "check-value-wrong": m.Integrity, "syntax-errors": m.Syntax, "unknown-spi": m.Unknown,
		"replayed": m.Replayed, "out-of-window": m.OutOfWindow, "repeats-sent": m.Repeats, "repeats-answered": m.RepeatsAnswered, "peers-dead": m.PeersDead,

		"messages": c.Received, "messages-dropped": c.KnownDropped, "initial-messages-dropped": c.NewDropped, "hints-dropped": c.HintsDropped,
		"sent": c.Sent, "send-failed": c.SendFailed, "log-lines-left-out": c.Unlogged, "trace-lines-missed": c.TraceMissed,
	}
	u := k.sockets.counters()
	all["socket-overflows"], all["socket-garbage"], all["keepalives-received"] = uint64(u.Overflow), u.Garbage, u.Keepalives
	all["socket-truncated"] = u.Truncated
	k.sockets.countESP(all, u)
	if k.count != nil {
		k.count(all)
	}
	return all
}
