// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"dmvpn/loader/kernel"
)

// Bounds of what is learned from peers; what the configuration names is not counted. None that
// stands makes room for another: what is in it would go in clear.
const (
	learnedLimit = 65536
	// LearnedOfOne is the most that is learned of one peer, now and ever: many times what it
	// can have registered at once.
	LearnedOfOne = 1024
	// learnedAtOne is the most that a run learns from one underlay address (of IPv6 a /64), whoever
	// is there: a shared key does not prove who somebody is, and he may have many names.
	learnedAtOne = learnedLimit / 16
)

// Errors of Learn.
var (
	ErrLearnedOfOne = fmt.Errorf("%d unreachable routes stand already under prefixes that were learned of this peer", LearnedOfOne)
	ErrLearnedAtOne = fmt.Errorf("%d were learned from this underlay address since the start", learnedAtOne)
	ErrLearned      = fmt.Errorf("%d unreachable routes stand already under prefixes that were learned of peers", learnedLimit)
)

// Unreachable are the unreachable routes that an instance stands under what it protects.
// They outlive a crash and a teardown, and with it the instance's folder: the file beside
// it has a prefix on each line, its table if that is not the main one, and of whom it was
// learned. It is safe for concurrent use.
type Unreachable struct {
	path string
	host *kernel.Host

	mu     sync.Mutex
	stood  map[Place]string // of whom it was learned; "": configured
	lifted map[Place]bool   // of this run, for good
	ended  bool

	learned map[string]int       // of whom, how many
	at      map[netip.Prefix]int // where, how many in this run
	total   int                  // of them
	limit   int                  // of the total
}

// OpenUnreachable stands again what the instance stood before. The caller holds the lock.
func OpenUnreachable(p Paths, h *kernel.Host) (*Unreachable, error) {
	before, err := readUnreachable(p.Unreachable)
	if err != nil {
		return nil, err
	}
	u := &Unreachable{path: p.Unreachable, host: h, stood: map[Place]string{}, lifted: map[Place]bool{}, learned: map[string]int{}, at: map[netip.Prefix]int{}, limit: learnedLimit}
	for _, l := range before {
		if err := l.host(h).InstallUnreachable(l.Prefix); err != nil {
			return nil, err
		}
		u.put(l)
	}
	if len(before) == 0 {
		return u, nil
	}
	return u, u.rewrite()
}

// put and drop count what is learned.
func (u *Unreachable) put(l line) {
	u.drop(l.Place)
	if u.stood[l.Place] = l.of; l.of != "" {
		u.learned[l.of]++
		u.total++
	}
}

func (u *Unreachable) drop(p Place) {
	of := u.stood[p]
	if delete(u.stood, p); of == "" {
		return
	}
	u.total--
	if u.learned[of]--; u.learned[of] == 0 {
		delete(u.learned, of)
	}
}

// rewrite takes an unfinished line off the file: what comes next would be added to it.
func (u *Unreachable) rewrite() error {
	var text bytes.Buffer
	for p, of := range u.stood {
		fmt.Fprintln(&text, line{p, of})
	}
	err := os.WriteFile(u.path+".new", text.Bytes(), 0o640)
	if err == nil {
		err = os.Rename(u.path+".new", u.path)
	}
	if err != nil {
		return fmt.Errorf("remember the unreachable routes: %w", err)
	}
	return nil
}

// Stand stands a route under a prefix that the configuration names, unless one of its table
// under a wider prefix does already, or it was lifted. What was learned inside of it counts no more.
func (u *Unreachable) Stand(p Place) error {
	p.Prefix = p.Prefix.Masked()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.total > 0 {
		for q, of := range u.stood {
			if of != "" && p.holds(q) {
				u.put(line{q, ""})
			}
		}
	}
	return u.stand(line{p, ""}, netip.Prefix{})
}

// Learn is Stand for a prefix that is known by the word of a peer, of whom no more than
// LearnedOfOne are taken: then the error wraps ErrLearnedOfOne, or ErrLearnedAtOne where too many came from its
// address. One that wraps ErrLearned says that there is no
// room for anybody's. of is who it is, in a few octets and never empty; it is remembered. at is its
// underlay address.
func (u *Unreachable) Learn(p Place, of string, at netip.Addr) error {
	p.Prefix = p.Prefix.Masked()
	u.mu.Lock()
	defer u.mu.Unlock()
	const site = 64 // a peer may have all of it
	where, err := at.Prefix(min(at.BitLen(), site))
	if err != nil {
		return fmt.Errorf("%s: an underlay address %s: %w", p, at, err)
	}
	return u.stand(line{p, of}, where)
}

func (u *Unreachable) stand(l line, at netip.Prefix) error {
	p := l.Place
	switch {
	case u.ended || u.lifted[p] || u.covered(p):
		return nil
	case l.of != "" && u.learned[l.of] >= LearnedOfOne:
		return fmt.Errorf("%s: %w", p, ErrLearnedOfOne)
	case l.of != "" && u.at[at] >= learnedAtOne:
		return fmt.Errorf("%s: %w", p, ErrLearnedAtOne)
	case l.of != "" && u.total >= u.limit:
		return fmt.Errorf("%s: %w", p, ErrLearned)
	}
	// Remembered first: what stands can always be released.
	if err := appendLine(u.path, l.String()); err != nil {
		return fmt.Errorf("remember the unreachable routes: %w", err)
	}
	if err := p.host(u.host).InstallUnreachable(p.Prefix); err != nil {
		return err
	}
	if u.put(l); l.of != "" {
		u.at[at]++
	}
	return nil
}

// Lift removes the routes that are in the way, says which, and keeps them from standing again
// as long as this run lasts.
func (u *Unreachable) Lift(inTheWay func(Place) bool) (lifted []Place, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for p := range u.stood {
		if !inTheWay(p) {
			continue
		}
		if err := p.host(u.host).RemoveUnreachable(p.Prefix); err != nil {
			return lifted, err
		}
		u.drop(p)
		u.lifted[p] = true
		lifted = append(lifted, p)
	}
	if len(lifted) == 0 {
		return nil, nil
	}
	return lifted, u.rewrite()
}

// Missing says whether a route is not there that was stood.
func (u *Unreachable) Missing(stands func(Place) bool) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for p := range u.stood {
		if !u.ended && !stands(p) {
			return true
		}
	}
	return false
}

// Restore stands again what somebody else has removed, and says what.
func (u *Unreachable) Restore(stands func(Place) bool) (restored []Place, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for p := range u.stood {
		if u.ended || stands(p) {
			continue
		}
		if err := p.host(u.host).InstallUnreachable(p.Prefix); err != nil {
			return restored, err
		}
		restored = append(restored, p)
	}
	return restored, nil
}

// End lets nothing stand from here on: what there is may be released.
func (u *Unreachable) End() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
}

func (u *Unreachable) covered(p Place) bool {
	for bits := p.Prefix.Bits(); bits >= 0; bits-- {
		if wider, err := p.Prefix.Addr().Prefix(bits); err == nil {
			if _, ok := u.stood[Place{p.Table, wider}]; ok {
				return true
			}
		}
	}
	return false
}
