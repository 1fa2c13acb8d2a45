// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"encoding/binary"
	"time"
)

// instant is a time on the machine's own clock, which never jumps: since its epoch.
// 0 is no time at all.
type instant time.Duration

func (i instant) after(d time.Duration) instant { return i + instant(d) }

// at is the instant d from now.
func (m *Machine) at(d time.Duration) instant { return m.now.after(d) }

// due says whether an instant is set and has come.
func (m *Machine) due(i instant) bool { return i != 0 && i <= m.now }

// earliest is the sooner of two instants, of which 0 is none.
func earliest(a, b instant) instant {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// wall is an instant as the caller's clock has it.
func (m *Machine) wall(i instant) time.Time { return m.epoch.Add(time.Duration(i)) }

// ahead is the instant at which a lifetime ends that is d less a random part of at most jitter,
// and at most a tenth of its own: a short one is no storm.
func (m *Machine) ahead(d, jitter time.Duration) instant {
	return m.at(d - m.jitter(min(jitter, d/10)))
}

// jitter is a random part of d.
func (m *Machine) jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(binary.BigEndian.Uint64(m.draw(8)) % uint64(d))
}
