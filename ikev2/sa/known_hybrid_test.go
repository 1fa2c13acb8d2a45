// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"testing/cryptotest"

	"dmvpn/ikev2/iketest/pair"
	"dmvpn/ikev2/sa"
)

// knownRun is two machines, what passed between them, and an onlooker who knows all that
// they drew and goes through it message by message.
type knownRun struct {
	*testing.T
	knownSuite
	pair  *pair.Pair
	draws *knownDraws

	from      []int
	datagrams [][]byte

	messages []*knownMessage // not yet gone through
	keys     map[string]*knownKeys
}

// deliver delivers all that is on its way and what follows, and takes it down.
func (k *knownRun) deliver() {
	k.from, k.datagrams = nil, nil
	for m, ok := k.pair.Take(); ok; m, ok = k.pair.Take() {
		k.from, k.datagrams = append(k.from, 1-m.To), append(k.datagrams, slices.Clone(m.Data))
		k.pair.Input(m.To, &m.Datagram)
	}
	if err := k.pair.Err(); err != nil {
		k.Fatal(err)
	}
	k.messages = append(k.messages, knownMessages(k.T, k.from, k.datagrams)...)
}

// next is the next message, which is of that exchange and from that end.
func (k *knownRun) next(exchange byte, from int, response bool) *knownMessage {
	k.Helper()
	if len(k.messages) == 0 {
		k.Fatalf("no message of exchange %d", exchange)
	}
	m := k.messages[0]
	k.messages = k.messages[1:]
	if m.exchange() != exchange || m.from != from || m.response() != response {
		k.Fatalf("exchange %d from %d, response %v, not %d from %d, %v", m.exchange(), m.from, m.response(), exchange, from, response)
	}
	return m
}

// sealed opens the next message with the keys of its IKE SA.
func (k *knownRun) sealed(exchange byte, from int, response bool) (m *knownMessage, first byte, text []byte, inside knownPayloads) {
	k.Helper()
	m = k.next(exchange, from, response)
	keys := k.keys[string(m.spii())]
	if keys == nil {
		k.Fatalf("no keys for SPI %x", m.spii())
	}
	key := keys.er
	if m.ofInitiator() {
		key = keys.ei
	}
	first, text = m.open(k.T, key)
	return m, first, text, knownChain(k.T, first, text)
}

// rest opens INFORMATIONAL exchanges, which delete what was replaced.
func (k *knownRun) rest() {
	k.Helper()
	for len(k.messages) > 0 {
		k.sealed(exchangeInformational, k.messages[0].from, k.messages[0].response())
	}
}

// child compares the keys of a Child SA at both ends with KEYMAT, of which the first part
// is for what the initiator of its exchange sends (RFC 7296, section 2.17).
func (k *knownRun) child(initiator int, request, response knownPayloads, keymat []byte) {
	k.Helper()
	n := k.key
	ispi, rspi := binary.BigEndian.Uint32(request.spi(k.T)), binary.BigEndian.Uint32(response.spi(k.T))
	i, r := k.pair.Ends[initiator].Ledger.Held(ispi), k.pair.Ends[1-initiator].Ledger.Held(rspi)
	if i == nil || r == nil {
		k.Fatalf("the SA %08x, %08x is not installed at both ends", ispi, rspi)
	}
	if i.Outbound != rspi || r.Outbound != ispi {
		k.Errorf("outbound SPIs %08x and %08x", i.Outbound, r.Outbound)
	}
	if !bytes.Equal(i.Out.Encryption, keymat[:n]) || !bytes.Equal(i.In.Encryption, keymat[n:2*n]) {
		k.Errorf("the initiator sends with %x and takes %x; KEYMAT is %x", []byte(i.Out.Encryption), []byte(i.In.Encryption), keymat)
	}
	if !bytes.Equal(r.In.Encryption, keymat[:n]) || !bytes.Equal(r.Out.Encryption, keymat[n:2*n]) {
		k.Errorf("the responder sends with %x and takes %x; KEYMAT is %x", []byte(r.Out.Encryption), []byte(r.In.Encryption), keymat)
	}
}

// begin goes through IKE_SA_INIT, IKE_INTERMEDIATE for each of the methods, and IKE_AUTH.
func (k *knownRun) begin(limit int, pieces [][2]int, rounds ...uint16) {
	request, response := k.next(exchangeInit, 0, false), k.next(exchangeInit, 1, true)
	i, r := request.clear(k.T), response.clear(k.T)
	ni, nr := i.one(k.T, payloadNonce), r.one(k.T, payloadNonce)
	spii, spir := response.spii(), response.spir()
	method, gi := i.ke(k.T)
	_, gr := r.ke(k.T)

	// SKEYSEED = prf(Ni | Nr, g^ir) (RFC 7296, section 2.14).
	skeyseed := k.prf(slices.Concat(ni, nr), k.draws.shared(k.T, method, gi, gr))
	keys := k.knownSuite.keys(skeyseed, ni, nr, spii, spir)
	k.keys[string(spii)] = keys

	var intI, intR []byte
	for n, want := range rounds {
		mi, first, text, inside := k.sealed(exchangeIntermediate, 0, false)
		method, gi := inside.ke(k.T)
		intI = k.intAuth(mi, keys.pi, intI, first, text)
		mr, first, text, inside := k.sealed(exchangeIntermediate, 1, true)
		answered, gr := inside.ke(k.T)
		intR = k.intAuth(mr, keys.pr, intR, first, text)
		if method != want || answered != want {
			k.Errorf("round %d is %d, answered by %d; agreed was %d", n+1, method, answered, want)
		}
		for _, m := range []*knownMessage{mi, mr} {
			for _, b := range m.datagrams {
				if 20+8+4+len(b) > limit {
					k.Errorf("round %d: from %d came a datagram of %d octets", n+1, m.from, len(b))
				}
			}
		}
		if got := [2]int{len(mi.datagrams), len(mr.datagrams)}; got != pieces[n] {
			k.Errorf("round %d came in %d datagrams, not %d", n+1, got, pieces[n])
		}
		// SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr) (RFC 9370, section 2.2.2).
		skeyseed = k.prf(keys.d, k.draws.shared(k.T, method, gi, gr), ni, nr)
		keys = k.knownSuite.keys(skeyseed, ni, nr, spii, spir)
		k.keys[string(spii)] = keys
	}

	ma, _, _, asks := k.sealed(exchangeAuth, 0, false)
	_, _, _, answers := k.sealed(exchangeAuth, 1, true)
	var intAuth []byte
	if len(rounds) > 0 {
		intAuth = slices.Concat(intI, intR, ma.id()) // IntAuth_i | IntAuth_r | IKE_AUTH_MID
	}
	if id := binary.BigEndian.Uint32(ma.id()); int(id) != 1+len(rounds) {
		k.Errorf("IKE_AUTH has the message id %d", id)
	}
	for _, x := range []struct {
		who  string
		auth []byte
		want []byte
	}{
		{"initiator", asks.one(k.T, payloadAuth), k.auth(pair.Key, request.datagrams[0], nr, keys.pi, asks.one(k.T, payloadIDi), intAuth)},
		{"responder", answers.one(k.T, payloadAuth), k.auth(pair.Key, response.datagrams[0], ni, keys.pr, answers.one(k.T, payloadIDr), intAuth)},
	} {
		if got := fmt.Sprintf("%x", x.auth); got != fmt.Sprintf("02000000%x", x.want) {
			k.Errorf("AUTH of the %s is\n%s, it should be\n02000000%x", x.who, got, x.want)
		}
	}
	// KEYMAT = prf+(SK_d, Ni | Nr) (RFC 7296, section 2.17).
	k.child(0, asks, answers, k.plus(2*k.key, keys.d, ni, nr))
	k.rest()
}

// further goes through a CREATE_CHILD_SA and the IKE_FOLLOWUP_KE behind it, and gives what
// its keys are made of: SK(0) | Ni | Nr | SK(1) | … (RFC 9370, section 2.2.4).
func (k *knownRun) further(initiator int, rounds ...uint16) (spii []byte, asks, answers knownPayloads, seed [][]byte) {
	k.Helper()
	m, _, _, asks := k.sealed(exchangeCreate, initiator, false)
	_, _, _, answers = k.sealed(exchangeCreate, 1-initiator, true)
	method, gi := asks.ke(k.T)
	_, gr := answers.ke(k.T)
	seed = [][]byte{k.draws.shared(k.T, method, gi, gr), asks.one(k.T, payloadNonce), answers.one(k.T, payloadNonce)}
	for n, want := range rounds {
		_, _, _, i := k.sealed(exchangeFollowup, initiator, false)
		_, _, _, r := k.sealed(exchangeFollowup, 1-initiator, true)
		method, gi := i.ke(k.T)
		answered, gr := r.ke(k.T)
		if method != want || answered != want {
			k.Errorf("IKE_FOLLOWUP_KE %d is %d, answered by %d; agreed was %d", n+1, method, answered, want)
		}
		seed = append(seed, k.draws.shared(k.T, method, gi, gr))
	}
	return m.spii(), asks, answers, seed
}

// rekeyChild lets an end rekey its Child SA: KEYMAT = prf+(SK_d, SK(0) | Ni | Nr | SK(1) | …).
func (k *knownRun) rekeyChild(end int, rounds ...uint16) {
	k.Helper()
	info := k.pair.Ends[end].Machine.Infos(k.pair.Now)
	if len(info) != 1 || len(info[0].Children) != 1 {
		k.Fatalf("there is not one Child SA to rekey: %+v", info)
	}
	k.pair.Input(end, &sa.Rekey{ID: info[0].ID, Child: info[0].Children[0].Inbound})
	k.deliver()
	spii, asks, answers, seed := k.further(end, rounds...)
	k.child(end, asks, answers, k.plus(2*k.key, k.keys[string(spii)].d, seed...))
	k.rest()
}

// rekeyIKE lets an end rekey the IKE SA: SKEYSEED = prf(SK_d, SK(0) | Ni | Nr | SK(1) | …).
// What it leads to is used by the next message.
func (k *knownRun) rekeyIKE(end int, rounds ...uint16) {
	k.Helper()
	k.pair.Input(end, &sa.Rekey{ID: k.pair.Ends[end].Machine.Infos(k.pair.Now)[0].ID})
	k.deliver()
	old, asks, answers, seed := k.further(end, rounds...)
	spii, spir := asks.spi(k.T), answers.spi(k.T)
	skeyseed := k.prf(k.keys[string(old)].d, seed...)
	k.keys[string(spii)] = k.knownSuite.keys(skeyseed, seed[1], seed[2], spii, spir)
	k.rest()
}

// TestKeysAreTheOnesOfTheRFCs goes through whole lives of an IKE SA.
func TestKeysAreTheOnesOfTheRFCs(t *testing.T) {
	const x25519, p256, p384, mlkem768, mlkem1024 = 31, 19, 20, 36, 37
	sha := knownSuite{sha256.New, 20}
	for _, c := range []struct {
		name     string
		ike, esp string
		suite    knownSuite
		fragment int
		pieces   [][2]int // of IKE_INTERMEDIATE's requests and responses
		rounds   []uint16
		children []uint16
	}{
		{"X25519 alone", "aes128gcm16-prfsha256-x25519", "aes128gcm16-x25519", sha, 60000, nil, nil, nil},
		{"X25519 and ML-KEM-768", "aes128gcm16-prfsha256-x25519-ke1_mlkem768", "aes128gcm16-x25519-ke1_mlkem768", sha, 60000, [][2]int{{1, 1}}, []uint16{mlkem768}, []uint16{mlkem768}},
		{"in fragments", "aes128gcm16-prfsha256-x25519-ke1_mlkem768", "aes128gcm16-x25519-ke1_mlkem768", sha, 600, [][2]int{{3, 3}}, []uint16{mlkem768}, []uint16{mlkem768}},
		{"two rounds", "aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke2_ecp384", "aes128gcm16-x25519-ke1_mlkem768-ke2_ecp256", sha, 600, [][2]int{{3, 3}, {1, 1}}, []uint16{mlkem768, p384}, []uint16{mlkem768, p256}},
		{"two rounds, the other way around", "aes128gcm16-prfsha256-ecp256-ke1_x25519-ke2_mlkem768", "aes128gcm16-ecp384-ke1_x25519-ke2_mlkem768", sha, 600, [][2]int{{1, 1}, {3, 3}}, []uint16{x25519, mlkem768}, []uint16{x25519, mlkem768}},
		{"ML-KEM-1024, SHA-512 and AES-256", "aes256gcm16-prfsha512-ecp384-ke1_mlkem1024", "aes256gcm16-ecp384-ke1_mlkem1024", knownSuite{sha512.New, 36}, 1280, [][2]int{{2, 2}}, []uint16{mlkem1024}, []uint16{mlkem1024}},
		{"SHA-384 and three rounds", "aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke2_ecp256-ke3_mlkem1024", "aes256gcm16-x25519-ke1_mlkem768", knownSuite{sha512.New384, 36}, 1280, [][2]int{{2, 1}, {1, 1}, {2, 2}}, []uint16{mlkem768, p256, mlkem1024}, []uint16{mlkem768}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, 9370)
			dice := pair.Dice(9242)
			k := &knownRun{T: t, knownSuite: c.suite, draws: &knownDraws{from: &dice}, keys: map[string]*knownKeys{}}
			k.pair = pair.New(1, pair.Policy{IKE: c.ike, ESP: c.esp, Random: k.draws, Change: func(x *sa.Connection) { x.FragmentSize = c.fragment }})
			k.pair.Connect()
			k.deliver()
			k.begin(c.fragment, c.pieces, c.rounds...)
			k.rekeyChild(0, c.children...)
			k.rekeyChild(1, c.children...)
			k.rekeyIKE(1, c.rounds...)
			k.rekeyChild(0, c.children...)
			k.rekeyIKE(0, c.rounds...)
			k.rekeyChild(1, c.children...)
		})
	}
}
