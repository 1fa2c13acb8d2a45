// SPDX-License-Identifier: Apache-2.0

package esp

import "sync/atomic"

// Limits are lifetimes in octets and packets; 0: none. Soft ones raise an event, hard
// ones end the SA.
type Limits struct {
	SoftBytes, HardBytes     uint64
	SoftPackets, HardPackets uint64
}

// Event is what happens to an SA by its use.
type Event uint8

// The events; each comes once.
const (
	SoftLimit Event = 1 << iota
	HardLimit
	NearlyExhausted // nine tenths of the sequence numbers are used
	FirstPacket     // of an Inbound: the peer has it
)

// Usage holds an SA, or the two directions of a pair, to its limits. Its zero value has
// none.
type Usage struct {
	Limits Limits // not to be changed once the SA is in use
	// Notify is told of events, from a worker: it must not wait. nil: nobody.
	Notify func(Event)

	packets, bytes atomic.Uint64 // counted where there is a limit
	told           atomic.Uint32
}

// limited says whether use has to be counted.
func (u *Usage) limited() bool {
	return u != nil && u.Limits.SoftBytes|u.Limits.HardBytes|u.Limits.SoftPackets|u.Limits.HardPackets != 0
}

// add counts, and says whether the SA may still be used. It is limited.
func (u *Usage) add(bytes int) bool {
	l := &u.Limits
	p, b := u.packets.Add(1), u.bytes.Add(uint64(bytes))
	if l.HardPackets != 0 && p > l.HardPackets || l.HardBytes != 0 && b > l.HardBytes {
		u.tell(HardLimit)
		return false
	}
	if l.SoftPackets != 0 && p >= l.SoftPackets || l.SoftBytes != 0 && b >= l.SoftBytes {
		u.tell(SoftLimit)
	}
	return true
}

func (u *Usage) tell(e Event) {
	if u == nil || u.Notify == nil || u.told.Load()&uint32(e) != 0 {
		return
	}
	if u.told.Or(uint32(e))&uint32(e) == 0 {
		u.Notify(e)
	}
}
