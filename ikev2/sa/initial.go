// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/netip"
	"time"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/wire"
)

const second = time.Second

// initial is what an IKE SA remembers from IKE_SA_INIT to the end of IKE_AUTH.
type initial struct {
	Request, Response []byte // IKE_SA_INIT as it was on the wire, for AUTH
	Nr                []byte
	Digest            [32]byte // responder: of the request

	Method    uint16 // initiator: of its KE payload
	KE        *crypto.KeyExchange
	Cookie    []byte
	Renewed   bool // the cookie goes with the next repeat
	Rounds    int
	Restarted bool // for the sake of that
	Asked     []uint16
	Refusal   string              // of somebody who may be anybody
	FirstKE   *crypto.KeyExchange // of IKE_SA_INIT, when it is done
	Others    []Datagram          // further responses to IKE_SA_INIT
	Tried     [][32]byte          // material of the responses that were taken

	Intermediate bool // both announced IKE_INTERMEDIATE
	Childless    bool // the responder announced it
	Round        int  // additional key exchanges done
	PI, PR       []byte
	// Past, of a responder, are the keys that the last round was under: its request may come again.
	Past *crypto.Keys
	// What the response to IKE_INTERMEDIATE decrypted to.
	Text  []byte
	Inner wire.PayloadType

	AuthSent bool
	Child    *negotiation
	Identity auth.Identity // whom the initiator wants
}

// digest is a MAC of 32 octets.
func digest(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// naming makes the two NAT detection notifications of a message (section 2.23).
func naming(spii, spir wire.SPI, source, destination netip.AddrPort, hide bool) []wire.Payload {
	from := crypto.NATDetection(spii, spir, source)
	if hide {
		from[0] ^= 0xff // a NAT is seen where none is: packets go in UDP
	}
	to := crypto.NATDetection(spii, spir, destination)
	return []wire.Payload{
		&wire.Notify{Type: wire.NATDetectionSourceIP, Data: from[:]},
		&wire.Notify{Type: wire.NATDetectionDestinationIP, Data: to[:]},
	}
}

// detectNAT reads the peer's two notifications. One that sends none knows no UDP encapsulation.
func (s *ikeSA) detectNAT(payloads []wire.Payload, h wire.Header, local, remote netip.AddrPort) {
	here := crypto.NATDetection(h.SPIi, h.SPIr, local)
	there := crypto.NATDetection(h.SPIi, h.SPIr, remote)
	var sources, destinations, matches int
	for _, p := range payloads {
		n, ok := p.(*wire.Notify)
		switch {
		case !ok:
		case n.Type == wire.NATDetectionSourceIP:
			sources++
			if hmac.Equal(n.Data, there[:]) {
				matches++
			}
		case n.Type == wire.NATDetectionDestinationIP:
			destinations++
			s.NATLocal = !hmac.Equal(n.Data, here[:])
		}
	}
	s.NATRemote = sources > 0 && matches == 0
	s.Raw = sources+destinations == 0
}

// encapsulated says whether ESP goes in UDP.
func (m *Machine) encapsulated(s *ikeSA) bool {
	return s.NATLocal || s.NATRemote || m.connection(s).ForceEncapsulation && !s.Raw
}

// load counts what is under way, so that no list must be walked.
type load struct {
	halfOpen int
	from     map[netip.Addr]*fromAddress
}

type fromAddress struct{ plain, cookied int }

// admission is what a half-open SA, or one that was refused and still answers copies of
// the last request, counts as.
type admission struct {
	From    netip.Addr // where its IKE_SA_INIT came from
	Cookied bool       // the cookie came back
}

// enter counts an SA; leave takes it back. One with the zero admission does not count.
func (l *load) enter(a admission) {
	if !a.From.IsValid() {
		return
	}
	if l.from == nil {
		l.from = map[netip.Addr]*fromAddress{}
	}
	f := l.from[site(a.From)]
	if f == nil {
		f = &fromAddress{}
		l.from[site(a.From)] = f
	}
	l.halfOpen++
	if a.Cookied {
		f.cookied++
	} else {
		f.plain++
	}
}

func (l *load) leave(a admission) {
	f := l.from[site(a.From)]
	if f == nil {
		return
	}
	l.halfOpen--
	if a.Cookied {
		f.cookied--
	} else {
		f.plain--
	}
	if f.plain == 0 && f.cookied == 0 {
		delete(l.from, site(a.From))
	}
}

// leaveInitial ends what only IKE_SA_INIT and IKE_AUTH needed.
func (m *Machine) leaveInitial(s *ikeSA) {
	i := s.Initial
	if i == nil {
		return
	}
	if s.Stage == connecting {
		m.index.noAttempt(s)
	} else {
		m.forgetInitial(s, i.Digest)
	}
	for _, k := range []*crypto.KeyExchange{i.KE, i.FirstKE} {
		if k != nil {
			k.Wipe()
		}
	}
	if i.Past != nil {
		i.Past.Wipe()
	}
	m.cancel(i.Child)
	s.Initial = nil
}

// forgetInitial lets a copy of the SA's IKE_SA_INIT make a new SA. One that is gone may be
// ended once more when a copy has done so already: that one's entry stays.
func (m *Machine) forgetInitial(s *ikeSA, digest [32]byte) {
	if m.Recent[digest] == s.own() {
		delete(m.Recent, digest)
	}
}
