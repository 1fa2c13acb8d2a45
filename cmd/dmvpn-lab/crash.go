// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

const (
	demoDead = 2 * time.Second // a daemon stays dead for so long
	demoBack = 3 * time.Second // and is back within this, from when it is started again
)

// kill kills a node's daemon, starts it again, and gives how long it takes from there
// until back is nil.
func (s *story) kill(ctx context.Context, node string, back func() error) (time.Duration, error) {
	s.run(node, fmt.Sprintf("kill -9 %d", s.Daemon(node).Pid()))
	if err := s.Kill(ctx, node); err != nil {
		return 0, err
	}
	select {
	case <-time.After(demoDead):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	s.say("%v later:", demoDead)
	s.run(node, "dmvpnd -c dmvpn.toml &")
	s.line("")
	began := time.Now()
	if err := s.Start(node); err != nil {
		return 0, err
	}
	if err := s.Ready(ctx, node); err != nil {
		return 0, err
	}
	if err := s.Until(ctx, stepPatience, back); err != nil {
		return 0, err
	}
	took := time.Since(began)
	if took > demoBack {
		return took, fmt.Errorf("%s is back after %.1f s, later than %v", node, took.Seconds(), demoBack)
	}
	return took, nil
}

// hubKilled kills the hub's daemon under the streams by the shortcuts.
func (s *story) hubKilled(ctx context.Context) error {
	s.say(`dmvpnd is killed on the hub, without a word, under streams between host1 and
		host2, and between host2 and host3.`)
	took, err := s.kill(ctx, "hub", func() error {
		_, err := s.Hosts[0].Ping(cloud.Host(0), 0, 200*time.Millisecond)
		return err
	})
	if err != nil {
		return err
	}
	var all uint64
	for _, p := range []pair{{1, 2}, {2, 1}, {2, 3}, {3, 2}} {
		sent, err := s.whole(p.from, p.to)
		if err != nil {
			return err
		}
		all += sent
	}
	s.holds("of %d numbered packets by the shortcuts none was lost", all)
	s.holds("%.1f s after its daemon was started, the hub served host1 again: it has its registrations from before, and agreed on new keys", took.Seconds())
	return errors.Join(s.both(1, 2), s.both(2, 3))
}

// spokeKilled kills the daemon of a spoke that has two shortcuts.
func (s *story) spokeKilled(ctx context.Context) error {
	s.say(`The same on spoke2, at one end of both. What is sealed, the daemon seals: now
		packets wait, or are lost. But none goes in clear.`)
	var comes func() error
	took, err := s.kill(ctx, "spoke2", func() error {
		if comes == nil {
			comes = s.comes()
		}
		return comes()
	})
	if err != nil {
		return err
	}
	for _, other := range []string{"hub", "spoke1", "spoke3"} {
		for _, ends := range [][2]string{{"spoke2", other}, {other, "spoke2"}} {
			if err := s.Until(ctx, stepPatience, func() error { _, err := s.Secured(ctx, ends[0], ends[1]); return err }); err != nil {
				return err
			}
		}
	}
	for _, p := range []pair{{1, 2}, {2, 3}} {
		if err := s.shortcut(ctx, p.from, p.to); err != nil {
			return err
		}
	}
	s.holds("%.1f s after it was started, packets of all four streams came through", took.Seconds())
	s.holds("it took up its registration and its shortcuts, and agreed on new keys with all three")
	return s.draw(ctx)
}
