// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
)

// FuzzImport: state that no machine has written is refused, or does no harm.
func FuzzImport(f *testing.F) {
	c := nhrptest.NewCloud(1, false, nil)
	c.Run(time.Second)
	c.Ping(1400)
	c.Run(15 * time.Millisecond) // requests and indications are on their way
	for _, n := range c.Nodes {
		f.Add(n.Machine.Export())
	}
	c.Run(5 * time.Second)
	for _, n := range c.Nodes {
		f.Add(n.Machine.Export())
	}
	c = probed(1, false, nil)
	c.Ping(1400)
	c.Run(45 * time.Millisecond) // and probes
	for _, n := range c.Nodes {
		f.Add(n.Machine.Export())
	}
	probingSpoke := spokeConfig()
	probing(&probingSpoke)
	f.Fuzz(func(t *testing.T, state []byte) {
		for _, config := range []engine.Config{nhrptest.HubConfig(), spokeConfig(), probingSpoke} {
			w := nhrptest.New(1)
			w.Silent = true
			n := w.Add("X", hubNBMA, config)
			m := engine.New(config, engine.Env{
				Routes: n, Random: func() uint64 { return 1 }, Traffic: func(engine.Endpoint) engine.Traffic { return engine.Traffic{} },
			})
			if m.Import(w.Now, state) != nil {
				continue
			}
			for i, in := range []engine.Input{
				engine.LocalNBMA{Address: addr(hubNBMA)}, engine.Tick{}, engine.RoutesChanged{},
				engine.Redirect{Data: inner("10.10.1.5", "10.10.2.5")}, engine.Tick{},
			} {
				m.Handle(w.Now.Add(time.Duration(i)*time.Hour), in)
			}
			m.Snapshot(w.Now)
			if again := engine.New(config, engine.Env{Routes: n, Random: func() uint64 { return 1 }}).Import(w.Now, m.Export()); again != nil {
				t.Fatalf("its own export is refused: %v", again)
			}
			m.Handle(w.Now, engine.Stop{})
			if m.Handle(w.Now.Add(5*time.Hour), engine.Tick{}); !m.Stopped() {
				t.Fatal("an hour after Stop it has not stopped")
			}
		}
	})
}
