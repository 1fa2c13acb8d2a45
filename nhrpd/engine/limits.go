// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"
	"time"

	"dmvpn/nhrpd/cache"
)

// bucket is a token bucket: Tokens at instant At.
type bucket struct {
	Tokens float64
	At     instant
}

// take takes a token if there is one; rate a second, at most burst.
func (b *bucket) take(now instant, rate, burst float64) bool {
	b.Tokens = min(burst, b.Tokens+rate*(now-b.At).Seconds())
	b.At = now
	if b.Tokens < 1 {
		return false
	}
	b.Tokens--
	return true
}

// rated is what one endpoint may still make us do. Registrations and purges
// have a share of their own, so that a flood of the rest never starves them.
type rated struct {
	Endpoint Endpoint
	Members  bucket // registrations and purges
	Others   bucket
	Errors   bucket  // Error Indications to it
	Reports  bucket  // lines in the log about it
	Quiet    instant // when all of them are full again
}

// pair is a flow that was redirected.
type pair struct{ Source, Destination netip.Addr }

func comparePairs(a, b pair) int {
	if c := a.Source.Compare(b.Source); c != 0 {
		return c
	}
	return a.Destination.Compare(b.Destination)
}

// rates bounds what comes in and what is answered in a time.
type rates struct {
	perPeer   float64
	endpoints *cache.Map[Endpoint, *rated] // by Key; ends when all its buckets are full again
	pairs     *cache.Map[pair, instant]    // ends when the pair may be redirected again
	redirects bucket
	strangers [2]bucket // of all who are not known: registrations and purges, and the rest
	unknown   float64   // a second, of each
}

func newRates(perPeer, strangers int) rates {
	return rates{
		unknown:   float64(strangers),
		strangers: [2]bucket{{Tokens: 2 * float64(strangers)}, {Tokens: 2 * float64(strangers)}},
		perPeer:   float64(perPeer),
		endpoints: cache.NewMap[Endpoint, *rated](compareEndpoints),
		pairs:     cache.NewMap[pair, instant](comparePairs),
		redirects: bucket{Tokens: redirectsAtOnce},
	}
}

// of finds an endpoint's rates. When there are too many, the one that was quiet
// longest is forgotten.
func (r *rates) of(e Endpoint, now instant) *rated {
	for {
		k, _, ok := r.endpoints.Due(now)
		if !ok {
			break
		}
		r.endpoints.Delete(k)
	}
	e = e.Key()
	x, ok := r.endpoints.Get(e)
	if !ok {
		if r.endpoints.Len() >= endpointsRated {
			oldest, _, _ := r.endpoints.First()
			r.endpoints.Delete(oldest)
		}
		x = &rated{
			Endpoint: e, Members: bucket{r.perPeer, now}, Others: bucket{r.perPeer, now}, Errors: bucket{errorsAtOnce, now},
			Reports: bucket{errorsAtOnce, now},
		}
	}
	x.Quiet = now + 5*errorsAtOnce*time.Second
	r.endpoints.Put(e, x, x.Quiet)
	return x
}

// stranger says whether a packet of one who is not known may be looked at. Addresses can be
// made up, each with a share of its own: all of them together have one as well.
func (r *rates) stranger(now instant, member bool) bool {
	share := &r.strangers[1]
	if member {
		share = &r.strangers[0]
	}
	return share.take(now, r.unknown, 2*r.unknown)
}

// packet says whether a packet of an endpoint may be looked at.
func (r *rates) packet(e Endpoint, now instant, member bool) bool {
	x := r.of(e, now)
	if member {
		return x.Members.take(now, r.perPeer, r.perPeer)
	}
	return x.Others.take(now, r.perPeer, r.perPeer)
}

// error says whether an endpoint may be told of an error.
func (r *rates) error(e Endpoint, now instant) bool {
	return r.of(e, now).Errors.take(now, 1, errorsAtOnce)
}

// report says whether an endpoint's doings are worth another line in the log.
func (r *rates) report(e Endpoint, now instant) bool {
	return r.of(e, now).Reports.take(now, 0.2, errorsAtOnce)
}

// redirect says whether a flow may be redirected: once in redirectPause, and
// all flows together at a bounded rate.
func (r *rates) redirect(source, destination netip.Addr, now instant) bool {
	for {
		k, _, ok := r.pairs.Due(now)
		if !ok {
			break
		}
		r.pairs.Delete(k)
	}
	p := pair{source, destination}
	if _, ok := r.pairs.Get(p); ok || r.pairs.Len() >= redirectPairs || !r.redirects.take(now, redirectsAtOnce, redirectsAtOnce) {
		return false
	}
	r.pairs.Put(p, now+redirectPause, now+redirectPause)
	return true
}
