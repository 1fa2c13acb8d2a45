// SPDX-License-Identifier: Apache-2.0

package sa

import "time"

// Constants of this implementation; the RFC leaves them to us.
const (
	firstRepeat    = 2 * time.Second        // of a request that is not answered; each pause is longer
	firstProbe     = 500 * time.Millisecond // the same, of a probe that somebody waits for
	repeatFactor   = 1.35
	maxRepeats     = 11               // after some three minutes the peer is dead
	leastRepeats   = 3                // before a peer is given up that is silent
	probeRepeats   = 2                // of a probe that decides between two claims to an identity
	hintPause      = 10 * time.Second // between two checks for the sake of hints
	lingerInbound  = 5 * time.Second
	graceOfLoser   = 10 * time.Second // then the responder of a redundant SA drops it itself
	cookieLifetime = 2 * time.Minute  // of the secret; the one before stays good as long again
	maxRounds      = 4                // COOKIE and INVALID_KE_PAYLOAD answers that one attempt heeds at once
	maxOthers      = 6                // responses to one IKE_SA_INIT that are kept besides the first
	maxOther       = 4096             // octets of one
	otherRepeats   = 3                // of a request, where another response could be tried instead
	followupWait   = 30 * time.Second // for the next IKE_FOLLOWUP_KE of a chain
	firstRetry     = 2 * time.Second  // of an attempt that failed; each pause is longer
	maxRetry       = 64 * time.Second
	retryJitter    = 0.25
	// temporary is the pause after TEMPORARY_FAILURE, with as much jitter again; it
	// does not grow. After maxTemporary the IKE SA is made anew (section 2.25).
	temporary        = 4 * time.Second
	maxTemporary     = 4 * time.Minute
	maxPredecessors  = 4       // of an IKE SA that was rekeyed, which the peer should have deleted
	repeatsPerSecond = 5       // copies of its last request that an IKE SA answers
	maxInitial       = 8 << 10 // octets of an IKE_SA_INIT request, which a half-open SA keeps
	messageIDEnd     = 1 << 31 // the IKE SA is rekeyed long before its ids end
)

// Limits bound what peers can make us keep. Zero fields get their default from
// SetDefaults.
type Limits struct {
	HalfOpen         int           // IKE SAs that a peer began and did not authenticate, in all
	CookieThreshold  int           // half-open ones, and requests that failed, from which on cookies are asked for
	PerAddress       int           // half-open ones of one address, a /64 of IPv6, that returned no cookie
	PerAddressCookie int           // half-open ones of one address whose senders returned theirs
	HalfOpenTime     time.Duration // then one is dropped
	Established      int           // IKE SAs in all
	Children         int           // Child SAs of one IKE SA
	Attempts         int           // of our own under way
	HalfOpenOctets   int           // of reassembled fragments that one half-open SA may hold
	ErrorsPerSecond  int           // unprotected answers to errors, in all; as often INVALID_SPI in clear
	ErrorsPerAddress int           // each of the two to one address
}

// SetDefaults fills in what is zero.
func (l *Limits) SetDefaults() {
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.HalfOpen, 4096}, {&l.CookieThreshold, 64}, {&l.PerAddress, 16}, {&l.PerAddressCookie, 2048},
		{&l.Established, 32768}, {&l.Children, 16}, {&l.Attempts, 256}, {&l.HalfOpenOctets, 32 << 10}, {&l.ErrorsPerSecond, 2000}, {&l.ErrorsPerAddress, 50},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	if l.HalfOpenTime == 0 {
		l.HalfOpenTime = 30 * time.Second
	}
}
