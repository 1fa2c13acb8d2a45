// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"testing"
)

// What stands in files known_*_test.go reads and computes IKE with nothing but the
// standard library, straight on as the RFCs say it, so that it can judge this module's
// codec and keys.

// knownMessage is one message on the wire, with all of its fragments.
type knownMessage struct {
	from      int
	datagrams [][]byte
}

func (m *knownMessage) spii() []byte      { return m.datagrams[0][0:8] }
func (m *knownMessage) spir() []byte      { return m.datagrams[0][8:16] }
func (m *knownMessage) exchange() byte    { return m.datagrams[0][18] }
func (m *knownMessage) flags() byte       { return m.datagrams[0][19] }
func (m *knownMessage) id() []byte        { return m.datagrams[0][20:24] }
func (m *knownMessage) ofInitiator() bool { return m.flags()&0x08 != 0 }
func (m *knownMessage) response() bool    { return m.flags()&0x20 != 0 }

// Exchange and payload types (RFC 7296, sections 3.1 and 3.2; RFC 7383; RFC 9242; RFC
// 9370).
const (
	exchangeInit, exchangeAuth, exchangeCreate, exchangeInformational = 34, 35, 36, 37
	exchangeIntermediate, exchangeFollowup                            = 43, 44

	payloadSA, payloadKE, payloadIDi, payloadIDr = 33, 34, 35, 36
	payloadAuth, payloadNonce, payloadNotify     = 39, 40, 41
	payloadSK, payloadSKF                        = 46, 53
)

// knownMessages puts the datagrams of a wire, which loses nothing, together.
func knownMessages(t *testing.T, from []int, datagrams [][]byte) (all []*knownMessage) {
	t.Helper()
	for i, b := range datagrams {
		if int(binary.BigEndian.Uint32(b[24:])) != len(b) || b[17] != 0x20 {
			t.Fatalf("datagram %d is no IKE message: %x", i, b)
		}
		if n := len(all); n > 0 && b[16] == payloadSKF && all[n-1].datagrams[0][16] == payloadSKF && all[n-1].from == from[i] &&
			bytes.Equal(all[n-1].datagrams[0][:24], append(bytes.Clone(b[:16]), b[16:24]...)) {
			all[n-1].datagrams = append(all[n-1].datagrams, b)
			continue
		}
		all = append(all, &knownMessage{from[i], [][]byte{b}})
	}
	return all
}

// clear gives the payloads of a message that is not encrypted.
func (m *knownMessage) clear(t *testing.T) knownPayloads {
	t.Helper()
	return knownChain(t, m.datagrams[0][16], m.datagrams[0][28:])
}

// open decrypts AES-GCM with an ICV of 16 octets (RFC 5282; RFC 7383, section 2.5); key
// ends with the salt. It gives the type of the first payload inside, and all of these in
// clear.
func (m *knownMessage) open(t *testing.T, key []byte) (first byte, text []byte) {
	t.Helper()
	block, err := aes.NewCipher(key[:len(key)-4])
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range m.datagrams {
		body := 32
		if b[16] == payloadSKF {
			body = 36
			number, total := binary.BigEndian.Uint16(b[32:]), binary.BigEndian.Uint16(b[34:])
			if int(number) != i+1 || int(total) != len(m.datagrams) {
				t.Fatalf("fragment %d of %d stands at %d of %d", number, total, i+1, len(m.datagrams))
			}
		} else if b[16] != payloadSK || len(m.datagrams) != 1 {
			t.Fatalf("payload %d is not encrypted", b[16])
		}
		if int(binary.BigEndian.Uint16(b[30:])) != len(b)-28 {
			t.Fatalf("the encrypted payload is not the last: %x", b[:body])
		}
		nonce := append(bytes.Clone(key[len(key)-4:]), b[body:body+8]...)
		plain, err := gcm.Open(nil, nonce, b[body+8:], b[:body])
		if err != nil {
			t.Fatalf("exchange %d, id %d, flags %02x: %v", m.exchange(), m.id(), m.flags(), err)
		}
		if i == 0 {
			first = b[28]
		} else if b[28] != 0 {
			t.Errorf("fragment %d says that its first payload is %d", i+1, b[28])
		}
		padding := int(plain[len(plain)-1])
		text = append(text, plain[:len(plain)-1-padding]...)
	}
	return first, text
}

// knownPayloads are bodies of payloads by their type.
type knownPayloads map[byte][][]byte

func knownChain(t *testing.T, first byte, b []byte) knownPayloads {
	t.Helper()
	all := knownPayloads{}
	for next := first; next != 0; {
		n := int(binary.BigEndian.Uint16(b[2:]))
		all[next] = append(all[next], b[4:n])
		next, b = b[0], b[n:]
	}
	if len(b) != 0 {
		t.Fatalf("behind the last payload: %x", b)
	}
	return all
}

// one is the only payload of a type.
func (p knownPayloads) one(t *testing.T, which byte) []byte {
	t.Helper()
	if len(p[which]) != 1 {
		t.Fatalf("%d payloads of type %d", len(p[which]), which)
	}
	return p[which][0]
}

// spi is that of the only proposal.
func (p knownPayloads) spi(t *testing.T) []byte {
	t.Helper()
	b := p.one(t, payloadSA)
	if b[0] != 0 {
		t.Fatal("more than one proposal")
	}
	return b[8 : 8+b[6]]
}

// ke is the method and the data.
func (p knownPayloads) ke(t *testing.T) (method uint16, data []byte) {
	t.Helper()
	b := p.one(t, payloadKE)
	return binary.BigEndian.Uint16(b), b[4:]
}
