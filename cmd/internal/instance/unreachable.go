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
	learnedLimit = 65536 // of one tunnel's peers: another's have their own
	// LearnedOfOne is the most that is learned of one peer, now and ever: many times what it
	// can have registered at once.
	LearnedOfOne = 1024
	// learnedAtOne is the most that a run learns from one underlay address (of IPv6 a /64) by one tunnel, whoever
	// is there: a shared key does not prove who somebody is, and he may have many names.
	learnedAtOne = learnedLimit / 16
)

// Errors of Learn.
var (
	ErrLearnedOfOne = fmt.Errorf("%d unreachable routes stand already under prefixes that were learned of this peer", LearnedOfOne)
	ErrLearnedAtOne = fmt.Errorf("%d were learned by this tunnel from this underlay address since the start", learnedAtOne)
	ErrLearned      = fmt.Errorf("%d unreachable routes stand already under prefixes that were learned of this tunnel's peers", learnedLimit)
)

// Unreachable are the unreachable routes that an instance stands under what it protects.
// They outlive a crash and a teardown, and with it the instance's folder: the file beside
// it has a prefix on each line, its table if that is not the main one, and of whom it was
// learned. It is safe for concurrent use.
type Unreachable struct {
	path string
	host *kernel.Host

	mu     sync.Mutex
	stood  map[Place]Peer // of whom it was learned; nobody: configured
	lifted map[Place]bool // of this run, for good
	ended  bool

	learned map[Peer]int   // of whom, how many
	by      map[string]int // by which tunnel
	at      map[site]int   // where, in this run
	limit   int            // by a tunnel
	atOne   int
}

// A Peer is of whom a prefix was learned. Nobody is the zero one.
type Peer struct {
	Tunnel string // there is no space in it
	Name   string // in a few octets: it is remembered
}

// A site is an underlay address that peers of a tunnel are at; of IPv6 its /64, one may have all of it.
type site struct {
	tunnel string
	at     netip.Prefix
}

// OpenUnreachable stands again what the instance stood before. The caller holds the lock.
func OpenUnreachable(p Paths, h *kernel.Host) (*Unreachable, error) {
	before, err := readUnreachable(p.Unreachable)
	if err != nil {
		return nil, err
	}
	u := &Unreachable{path: p.Unreachable, host: h, stood: map[Place]Peer{}, lifted: map[Place]bool{},
		learned: map[Peer]int{}, by: map[string]int{}, at: map[site]int{}, limit: learnedLimit, atOne: learnedAtOne}
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
	if u.stood[l.Place] = l.of; l.of != (Peer{}) {
		u.learned[l.of]++
		u.by[l.of.Tunnel]++
	}
}

func (u *Unreachable) drop(p Place) {
	of := u.stood[p]
	if delete(u.stood, p); of == (Peer{}) {
		return
	}
	less(u.learned, of)
	less(u.by, of.Tunnel)
}

// less counts down, and forgets what is none.
func less[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
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
	if len(u.learned) > 0 {
		for q, of := range u.stood {
			if of != (Peer{}) && p.holds(q) {
				u.put(line{q, Peer{}})
			}
		}
	}
	return u.stand(line{p, Peer{}}, site{})
}

// Learn is Stand for a prefix that is known by the word of a peer, of whom no more than
// LearnedOfOne are taken: then the error wraps ErrLearnedOfOne, or ErrLearnedAtOne where too many came from its
// address. One that wraps ErrLearned says that there is no
// room for anybody's of its tunnel. of is never nobody; at is its underlay address.
func (u *Unreachable) Learn(p Place, of Peer, at netip.Addr) error {
	p.Prefix = p.Prefix.Masked()
	u.mu.Lock()
	defer u.mu.Unlock()
	const wide = 64
	where, err := at.Prefix(min(at.BitLen(), wide))
	if err != nil {
		return fmt.Errorf("%s: an underlay address %s: %w", p, at, err)
	}
	return u.stand(line{p, of}, site{of.Tunnel, where})
}

func (u *Unreachable) stand(l line, at site) error {
	p, learned := l.Place, l.of != Peer{}
	switch {
	case u.ended || u.lifted[p] || u.covered(p):
		return nil
	case learned && u.learned[l.of] >= LearnedOfOne:
		return fmt.Errorf("%s: %w", p, ErrLearnedOfOne)
	case learned && u.at[at] >= u.atOne:
		return fmt.Errorf("%s: %w", p, ErrLearnedAtOne)
	case learned && u.by[l.of.Tunnel] >= u.limit:
		return fmt.Errorf("%s: %w", p, ErrLearned)
	}
	// Remembered first: what stands can always be released.
	if err := appendLine(u.path, l.String()); err != nil {
		return fmt.Errorf("remember the unreachable routes: %w", err)
	}
	if err := p.host(u.host).InstallUnreachable(p.Prefix); err != nil {
		return err
	}
	if u.put(l); learned {
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
