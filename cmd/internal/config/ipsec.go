// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
	"slices"
	"time"

	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

// IPsec is one [tunnel.NAME.ipsec], with what it leaves out from [ipsec].
type IPsec struct {
	Identity    string // as ikev2/auth reads it; "": the host's name
	PSK         Secret // of every peer that Secrets has no other one for; its Peer is *
	Secrets     []Secret
	Certificate string // file
	Key         string // file
	CA, CRL     []string
	Peers       []string // patterns; none: everybody with a credential

	IKE, ESP []proposal.Proposal // none: the defaults

	// Lifetimes; 0: never.
	IKELifetime, ChildLifetime, Reauthentication time.Duration
	ChildBytes, ChildPackets                     uint64

	DPD, Keepalive time.Duration // 0: never
	Mode           string        // one of Modes
	Encapsulation  string        // one of Encapsulations
	FragmentSize   int
	ReplayWindow   int // packets
	Childless      bool
}

// Secret is a key that is shared with a peer, or with several that fit a pattern.
type Secret struct {
	Peer string
	File string
	Text string // the key itself, where it stands in the configuration; do not log it
}

func (s Secret) given() bool { return s.File != "" || s.Text != "" }

// String hides the key.
func (s Secret) String() string {
	if s.Text != "" {
		return s.Peer + ": in the configuration"
	}
	return s.Peer + ": " + s.File
}

// GoString hides the key from %#v.
func (s Secret) GoString() string { return s.String() }

// What mode and encapsulation may say.
var (
	Modes          = []string{"transport", "tunnel"}
	Encapsulations = []string{"udp", "raw"}
)

// Bounds of what [ipsec] may say.
const (
	minLifetime     = time.Minute
	maxLifetime     = 7 * 24 * time.Hour
	minDPD          = time.Second
	maxDPD          = time.Hour
	minFragmentSize = 576 // what every IPv4 path carries
	maxFragmentSize = 65535
	minChildBytes   = 1 << 20
	minChildPackets = 10_000
)

// Defaults of what the file leaves out.
const (
	DefaultIKELifetime   = 4 * time.Hour
	DefaultChildLifetime = time.Hour
	DefaultDPD           = 30 * time.Second
	DefaultKeepalive     = 20 * time.Second
	DefaultMode          = "transport"
	DefaultEncapsulation = "udp"
	DefaultFragmentSize  = 1280
	DefaultReplayWindow  = 1024
)

func defaultIPsec() IPsec {
	return IPsec{
		IKELifetime: DefaultIKELifetime, ChildLifetime: DefaultChildLifetime, DPD: DefaultDPD, Keepalive: DefaultKeepalive,
		Mode: DefaultMode, Encapsulation: DefaultEncapsulation, FragmentSize: DefaultFragmentSize, ReplayWindow: DefaultReplayWindow,
	}
}

const ipsecRemedy = "write [tunnel.NAME.ipsec] or [ipsec] and its keys below"

// ParseIPsec reads content that has the table [ipsec] and nothing else; file is for
// the errors, which are of type Errors.
func ParseIPsec(file string, content []byte) (IPsec, error) {
	root, err := open(file, content)
	if err != nil {
		return IPsec{}, err
	}
	s := readIPsec(root, defaultIPsec())
	if s == nil {
		root.failMissing("ipsec", ipsecRemedy)
		s = &IPsec{}
	} else {
		root.doc.checkIPsec("ipsec", s)
	}
	root.done()
	return *s, root.doc.result()
}

// readIPsec reads the table ipsec of t, with otherwise for what it leaves out; nil
// if it is not there.
func readIPsec(t *table, otherwise IPsec) *IPsec {
	t, ok := t.sub("ipsec", ipsecRemedy)
	if !ok {
		return nil
	}
	s := otherwise
	t.credentials(&s)
	t.policy(&s)
	t.lifetimes(&s)
	s.Mode = t.choice("mode", Modes, s.Mode)
	s.Encapsulation = t.choice("encapsulation", Encapsulations, s.Encapsulation)
	if n, ok := t.number("fragment-size", minFragmentSize, maxFragmentSize); ok {
		s.FragmentSize = int(n)
	}
	if n, ok := t.number("replay-window", 64, 131072); ok {
		s.ReplayWindow = int(n)
	}
	s.Childless = t.truth("childless", s.Childless)
	t.done()
	return &s
}

// policy reads who is let in and what is agreed to.
func (t *table) policy(s *IPsec) {
	if _, given := t.values["peers"]; given {
		s.Peers = nil
	}
	t.texts("peers", patternRemedy, func(path, text string) {
		if t.checkPattern(path, text) {
			s.Peers = append(s.Peers, text)
		}
	})
	s.IKE = t.proposals("ike", wire.ProtocolIKE, s.IKE)
	s.ESP = t.proposals("esp", wire.ProtocolESP, s.ESP)
}

// proposals gives those of a text in strongSwan's notation, or of an array of such.
func (t *table) proposals(key string, protocol wire.ProtocolID, otherwise []proposal.Proposal) []proposal.Proposal {
	remedy := `write "default", or such as "aes256gcm16-prfsha384-x25519-ke1_mlkem768"`
	if protocol == wire.ProtocolESP {
		remedy = `write "default", or such as "aes256gcm16-x25519"`
	}
	v, given := t.values[key]
	if !given {
		t.asked = append(t.asked, key)
		return otherwise
	}
	var all []proposal.Proposal
	add := func(path, text string) {
		list, err := proposal.Parse(protocol, text)
		if err != nil {
			t.doc.failValue(path, withoutPrefix(err), remedy)
			return
		}
		if all = append(all, list...); len(all) > proposal.MaxPolicy {
			t.doc.failValue(path, fmt.Sprintf("%d proposals, at most %d", len(all), proposal.MaxPolicy), "put what is as good into one")
		}
	}
	if _, list := v.([]any); list {
		t.texts(key, remedy, add)
		return all
	}
	if text := t.text(key, remedy); text != "" {
		add(join(t.path, key), text)
	}
	return all
}

// lifetimes reads what ends, and when somebody is asked.
func (t *table) lifetimes(s *IPsec) {
	s.IKELifetime = t.period("ike-lifetime", minLifetime, maxLifetime, s.IKELifetime)
	s.ChildLifetime = t.period("child-lifetime", minLifetime, maxLifetime, s.ChildLifetime)
	s.Reauthentication = t.period("reauthentication", minLifetime, maxLifetime, s.Reauthentication)
	s.ChildBytes = t.amount("child-bytes", minChildBytes, s.ChildBytes)
	s.ChildPackets = t.amount("child-packets", minChildPackets, s.ChildPackets)
	s.DPD = t.period("dpd", minDPD, maxDPD, s.DPD)
	s.Keepalive = t.period("keepalive", minDPD, maxDPD, s.Keepalive)
}

// period gives a time from least to most, or 0, which "never" is written as too.
func (t *table) period(key string, least, most, otherwise time.Duration) time.Duration {
	if v := t.values[key]; v == "never" || v == "0s" || v == "0" {
		t.asked = append(t.asked, key)
		return 0
	}
	remedy := fmt.Sprintf("write a string such as %q, from %v to %v, or \"never\"", "90s", least, most)
	s := t.text(key, remedy)
	if s == "" {
		return otherwise
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		t.doc.failValue(join(t.path, key), fmt.Sprintf("%q is not a length of time", s), remedy)
	case d < least || d > most:
		t.doc.failValue(join(t.path, key), fmt.Sprintf("%q is out of range", s), remedy)
	default:
		return d
	}
	return otherwise
}

// amount gives a number of at least least, or 0 for never.
func (t *table) amount(key string, least int64, otherwise uint64) uint64 {
	n, ok := t.number(key, 0, math.MaxInt64/2)
	if !ok {
		return otherwise
	}
	if n != 0 && n < least {
		t.doc.failValue(join(t.path, key), fmt.Sprintf("%d would rekey all the time", n), fmt.Sprintf("write at least %d, or 0 for never", least))
	}
	return uint64(n)
}

// choice gives one of some words, or otherwise if it is absent or wrong.
func (t *table) choice(key string, words []string, otherwise string) string {
	remedy := "write one of"
	for _, w := range words {
		remedy += fmt.Sprintf(" %q", w)
	}
	s := t.text(key, remedy)
	if s == "" {
		return otherwise
	}
	if !slices.Contains(words, s) {
		t.doc.failValue(join(t.path, key), fmt.Sprintf("%q is not offered", s), remedy)
		return otherwise
	}
	return s
}
