// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

const streamRate = 100 // packets a second

// streamSize are the octets of a packet between two hosts: longer than IKE's small
// messages, and those of spoke2 and spoke3 longer than the others.
func streamSize(a, b int) int { return 100 * (a + b) }

// A pair is two spokes by their numbers, in the order in which packets go.
type pair struct{ from, to int }

// stream starts numbered UDP from one spoke's host to another's.
func (s *story) stream(from, to int) error {
	stream, err := s.Hosts[from-1].Stream(s.Hosts[to-1], netip.AddrPortFrom(cloud.Host(to), uint16(4000+from)), streamRate, streamSize(from, to))
	if err == nil {
		s.traffic[pair{from, to}] = stream
	}
	return err
}

// both starts it both ways.
func (s *story) both(a, b int) error { return errors.Join(s.stream(a, b), s.stream(b, a)) }

// end ends a stream.
func (s *story) end(from, to int) lab.Report {
	stream := s.traffic[pair{from, to}]
	delete(s.traffic, pair{from, to})
	return stream.Stop()
}

// whole ends a stream and gives how many packets it had; that one is lost, or came twice, is
// an error.
func (s *story) whole(from, to int) (uint64, error) {
	r := s.end(from, to)
	if r.Lost() > 0 || r.Duplicated > 0 {
		return 0, fmt.Errorf("the stream from host%d to host%d: %v", from, to, r)
	}
	return r.Sent, nil
}

// comes is nil when packets of every stream have arrived after the call.
func (s *story) comes() func() error {
	before := map[pair]uint64{}
	for p, stream := range s.traffic {
		before[p] = stream.Received()
	}
	return func() error {
		const some = 5
		for p, n := range before {
			if s.traffic[p].Received() < n+some {
				return fmt.Errorf("nothing comes from host%d to host%d: %v", p.from, p.to, s.traffic[p].Snapshot())
			}
		}
		return nil
	}
}
