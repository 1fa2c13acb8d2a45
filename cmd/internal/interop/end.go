// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// An end is one of the two programs, at its place. Its methods ask it to do what an
// operator would, and return an error with the program's own words if it cannot.
type end interface {
	// start starts the program and gives it the policy.
	start(ctx context.Context, s settings) error
	// kill ends the program at once; start may follow.
	kill(ctx context.Context) error
	// connect makes an IKE SA and a Child SA, or says why that failed. One attempt.
	connect(ctx context.Context) error
	// sas gives what is established now, without what is being deleted.
	sas() ([]ikeSA, error)
	rekeyIKE(ctx context.Context) error
	rekeyChild(ctx context.Context) error
	deleteIKE(ctx context.Context) error
	deleteChild(ctx context.Context) error
	// transcript is the program's log so far.
	transcript() string
}

// settings are the policy of an end, as both programs' configuration can say it.
type settings struct {
	first     bool          // it is at the first place
	third     bool          // it is at the third place
	many      bool          // it has several peers
	auth      string        // psk, or the certificates: rsa, rsa-pss, ecdsa, ed25519, chain
	key       string        // the shared key
	ike, esp  string        // proposals, in strongSwan's notation, which is also ours
	protocol  string        // that the Child SA is for: its number
	fragment  int           // the largest IP packet with IKE; 0: the program's default
	liveness  time.Duration // nothing heard for so long: ask; 0: never
	keepalive time.Duration
	cookies   bool // ask for one as soon as there is one half-open SA
	bare      bool // nothing carries packets: IKE alone
	trap      bool // no packet leaves without an SA, and one that wants to makes it
	encap     bool // strongSwan forces ESP into UDP
	raw       bool // we would have ESP without UDP
	tunnel    bool // mode, not transport mode
}

const (
	goodKey    = "lab-preshared-key-0123456789"
	firstName  = "first.interop.example"
	secondName = "second.interop.example"
	thirdName  = "third.interop.example"
	anyName    = "*.interop.example"
)

// names gives the identities of the end and of its peer.
func (s settings) names() (local, remote string) {
	if s.third {
		return thirdName, secondName
	}
	if s.first {
		return firstName, secondName
	}
	return secondName, firstName
}

// An ikeSA is what an end says about one of its IKE SAs: SPIs in hexadecimal.
type ikeSA struct {
	initiator, responder string
	children             []childSA
}

type childSA struct {
	in, out string
	encap   bool
}

func (s ikeSA) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s_i %s_r", s.initiator, s.responder)
	for _, c := range s.children {
		fmt.Fprintf(&b, " {%s in, %s out", c.in, c.out)
		if c.encap {
			b.WriteString(", UDP")
		}
		b.WriteByte('}')
	}
	return b.String()
}

// mirrored is the SA as the peer has it.
func (s ikeSA) mirrored() ikeSA {
	m := ikeSA{initiator: s.initiator, responder: s.responder}
	for _, c := range s.children {
		m.children = append(m.children, childSA{in: c.out, out: c.in, encap: c.encap})
	}
	return m
}

// describe prints SAs in an order of their own, so that equal ones print alike.
func describe(sas []ikeSA) string {
	var all []string
	for _, s := range sas {
		slices.SortFunc(s.children, func(a, b childSA) int { return strings.Compare(a.in, b.in) })
		all = append(all, s.String())
	}
	slices.Sort(all)
	if len(all) == 0 {
		return "no SA"
	}
	return strings.Join(all, "; ")
}

// agree says whether what two ends say is the same.
func agree(a, b []ikeSA) bool {
	var mirrored []ikeSA
	for _, s := range b {
		mirrored = append(mirrored, s.mirrored())
	}
	return describe(a) == describe(mirrored)
}
