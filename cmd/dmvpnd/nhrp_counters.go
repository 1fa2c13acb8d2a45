// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"strings"

	"dmvpn/cmd/internal/control"
	"dmvpn/nhrpd/engine"
)

// NHRPCounters implements control.Source.
func (s *source) NHRPCounters(ctx context.Context) ([]control.NHRPCounters, error) {
	return all(ctx, s.daemon, func(t *tunnel, snapshot engine.Snapshot) ([]control.NHRPCounters, error) {
		out := sortCounters(snapshot.Counters)
		c := t.counters()
		out.Tunnel, out.Unread, out.Failed = t.config.Name, c.QueueDropped, c.SendFailed
		for _, x := range snapshot.Caches {
			out.Caches = append(out.Caches, control.NHRPCache{Name: x.Name, Used: x.Used, Most: x.Most})
		}
		return []control.NHRPCounters{out}, nil
	})
}

// sortCounters sorts the machine's counters, whose names engine.Snapshot explains, by kind.
func sortCounters(all map[string]uint64) control.NHRPCounters {
	out := control.NHRPCounters{Codes: map[string]uint64{}, Dropped: map[string]uint64{}, Events: map[string]uint64{}}
	types := map[string]*control.NHRPType{}
	of := func(name string) *control.NHRPType {
		if types[name] == nil {
			types[name] = &control.NHRPType{Type: name}
		}
		return types[name]
	}
	for name, n := range all {
		if reason, ok := strings.CutPrefix(name, "dropped-"); ok {
			out.Dropped[reason] = n
		} else if kind, _, ok := strings.Cut(name, "-dropped-"); ok {
			of(kind).Dropped += n
		} else if kind, ok := strings.CutSuffix(name, "-received"); ok {
			of(kind).Received = n
		} else if kind, ok := strings.CutSuffix(name, "-sent"); ok {
			of(kind).Sent = n
		} else if strings.Contains(name, "-code-") || strings.HasPrefix(name, "error-received-") || strings.HasPrefix(name, "error-sent-") {
			out.Codes[name] = n
		} else {
			out.Events[name] = n
		}
	}
	for _, x := range types {
		out.Types = append(out.Types, *x)
	}
	slices.SortFunc(out.Types, func(a, b control.NHRPType) int { return strings.Compare(a.Type, b.Type) })
	return out
}
