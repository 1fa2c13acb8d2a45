// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"time"

	"dmvpn/ikev2/wire"
)

// exportVersion is that of the format; Import knows no other.
const exportVersion = 1

type exported struct {
	Version int
	Elapsed instant // on the machine's clock
	State   state
}

// Export gives the whole state, secrets included, at a time that is not before the last
// input's. What it gives and the machine must not both be used further: they would
// protect different messages under one initialization vector.
func (m *Machine) Export(now time.Time) ([]byte, error) {
	m.tick(now)
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(exported{Version: exportVersion, Elapsed: m.now, State: m.state}); err != nil {
		return nil, fmt.Errorf("ike: export: %w", err)
	}
	return b.Bytes(), nil
}

// Import makes a machine that goes on where another was exported. Connections that the
// configuration does not have any more are dropped in silence, with their Child SAs.
func Import(now time.Time, c Config, data []byte) (*Machine, error) {
	var e exported
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&e); err != nil {
		return nil, fmt.Errorf("ike: import: %w", err)
	}
	if e.Version != exportVersion {
		return nil, fmt.Errorf("ike: import: version %d, not %d: start without the old state", e.Version, exportVersion)
	}
	m := New(now, c)
	m.epoch = now.Add(-time.Duration(e.Elapsed))
	fresh := m.state
	m.state = e.State
	if m.SAs == nil {
		m.SAs = fresh.SAs
	}
	if m.Peers == nil {
		m.Peers = fresh.Peers
	}
	if m.Recent == nil {
		m.Recent = map[[32]byte]wire.SPI{}
	}
	m.tick(now)
	for _, p := range m.Peers {
		put(m.index.peers, whomOf(p.Connection, p.Identity), p)
	}
	for _, s := range m.all() {
		m.add(s)
	}
	for _, w := range m.Wants {
		m.indexWant(w)
		m.assign(w, m.SAs[w.SA])
		m.retry(w, w.RetryAt)
	}
	for _, s := range m.all() {
		if s.Connection != "" && m.connections[s.Connection] == nil {
			m.die(s, "its connection is gone")
			continue
		}
		m.load.enter(s.Admitted)
		m.armSA(s)
	}
	m.settleDown()
	m.out = nil
	return m, nil
}
