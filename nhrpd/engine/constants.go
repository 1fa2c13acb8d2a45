// SPDX-License-Identifier: Apache-2.0

package engine

import "time"

// Defaults of Config and Limits.
const (
	defaultHolding  = 7200 * time.Second
	defaultIdle     = 5 * time.Minute
	defaultUseBytes = 16384

	defaultBindings        = 65535
	defaultBindingsPerPeer = 64
	defaultCached          = 16384
	defaultPending         = 1024
	defaultPacketsPerPeer  = 100
	defaultStrangers       = 2000
)

// Registration (RFC 2332, section 5.2.3; the pauses are our own).
const (
	firstPause     = time.Second      // to the second try; doubled from one to the next
	spreadPause    = 8 * time.Second  // from which on up to a quarter is taken off
	longestPause   = 64 * time.Second // between two tries
	renewals       = 3                // in a holding time
	networksTries  = 4                // of prefixes without answer, then it is reported
	switchTries    = 4                // without answer: the next address, or another NHS takes over
	entriesPerTry  = 32               // prefixes in one Registration Request
	pauseRefused   = 2 * time.Minute  // after code 4 and 14: the operator is needed
	pauseNoRoom    = 20 * time.Second // after code 5
	pauseRenewal   = 30 * time.Second // at least, between registrations that an error caused
	shortestPrefix = 8                // IPv4: what is wider is no one's network
	shortestIPv6   = 16
)

// Request ids.
const (
	idStep       = 1024 // a step is 1 to idStep, at random
	skippedSteps = 1000 // that a saved state may lack
)

// Resolution.
const (
	requestTries     = 3 // after 1, 2 and 4 s
	negativeNone     = 60 * time.Second
	negativeRefused  = 5 * time.Minute
	negativeNoRoom   = 15 * time.Second
	negativeSilence  = 30 * time.Second
	freshShortcut    = 10 * time.Second // an indication for a younger one is late, not news
	freshAnswer      = 30 * time.Second // one whose packets go by the hub is asked for again after that
	lateReplies      = 64               // ids whose replies may come once more
	answersPerTold   = 32
	shortestRefresh  = time.Second
	alternativesKept = 4  // entries of an answer
	indicationOctets = 68 // of the packet in a Traffic Indication
)

// Probes: with a peer that may be reached 6, in 2.4 s; with one that has fallen silent 3,
// three quarters of Probe apart.
const (
	pathTries    = 6
	silentTries  = 3
	mostTries    = 8
	firstProbe   = 50 * time.Millisecond // to the second; doubled from one to the next
	longestProbe = 800 * time.Millisecond
	restingLook  = 5           // times Probe, at a path that carries nothing
	pathSettled  = time.Minute // a path that was good for so long is not suspected any more
)

// Purges, and the end of acceptance.
const (
	purgeTries = 7                      // 1, 2, 4 … 64 s
	stopPause  = 200 * time.Millisecond // to the second at the end; doubled from one to the next
	stopTime   = time.Second            // for replies, at the end
	drainTime  = 2 * time.Second        // for packets on their way, after the last that may be sent
	purgedCIEs = 32                     // prefixes in one Purge Request
)

// Redirects.
const (
	redirectPause   = 8 * time.Second // one per source and destination
	redirectsAtOnce = 256             // in all, and as many a second
	redirectPairs   = 4096
)

// The carrier where it follows the servers.
const (
	carrierDelay = 2 * time.Second  // after the last answer
	carrierGrace = 15 * time.Second // after a start: SAs and registrations are made again
)

// Rates per endpoint.
const (
	errorsAtOnce   = 5    // Error Indications to one endpoint, and one a second; lines in the log, and one in 5 s
	endpointsRated = 8192 // endpoints whose rates are remembered
)

// Of a reply, in octets: by how much it may be longer than its request (Responder Address, NAT
// Address, our own extension), and what passes whatever MTU is configured.
const (
	replyGrowth      = 112
	shortestUnderlay = 1024
)

// errorContents bounds what an Error Indication quotes, so that it never needs
// a fragment (RFC 2332, section 5.2.7 leaves the length open).
const errorContents = 512
