// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"crypto/hmac"
	"encoding/binary"
	"net/netip"

	"dmvpn/ikev2/wire"
)

// cookies are the secrets that cookies are made with: the younger one makes them,
// the older one is still believed (section 2.6).
type cookies struct {
	Number  uint32
	Secrets [2][]byte // by Number modulo 2
	Until   instant
}

// turn draws a new secret when the last one is old enough. A secret lives twice
// as long as it makes cookies.
func (m *Machine) turnCookies() {
	c := &m.Cookies
	if c.Secrets[c.Number%2] != nil && m.now < c.Until {
		return
	}
	if m.now >= c.Until.after(cookieLifetime) {
		c.Secrets = [2][]byte{} // nobody asked for long
	}
	c.Number++
	c.Secrets[c.Number%2] = m.draw(32)
	c.Until = m.at(cookieLifetime)
}

// cookie is the one that a sender must return.
func (c *cookies) cookie(number uint32, nonce []byte, from netip.AddrPort, spii wire.SPI) []byte {
	address := from.Addr().As16()
	b := binary.BigEndian.AppendUint32(nil, number)
	return append(b, digest(c.Secrets[number%2], nonce, address[:], binary.BigEndian.AppendUint16(nil, from.Port()), spii[:])...)
}

// good says whether a cookie is ours and of this sender.
func (c *cookies) good(cookie, nonce []byte, from netip.AddrPort, spii wire.SPI) bool {
	if len(cookie) < 4 {
		return false
	}
	n := binary.BigEndian.Uint32(cookie)
	if n != c.Number && n+1 != c.Number || c.Secrets[n%2] == nil {
		return false
	}
	return hmac.Equal(cookie, c.cookie(n, nonce, from, spii))
}

// admit decides whether a new IKE_SA_INIT is worth a key exchange: it asks the sender
// for a cookie where many wait, and refuses where too many do, before the request is
// decoded. cookied says that the sender proved to be where it seems; whole that there is a
// nonce to make a cookie of.
func (m *Machine) admit(in *Datagram, h wire.Header, whole bool, cookie, nonce []byte) (cookied, ok bool) {
	limits, address := m.config.Limits, site(in.Remote.Addr())
	from := fromAddress{}
	if f := m.load.from[address]; f != nil {
		from = *f
	}
	if len(m.SAs) >= limits.Established+limits.HalfOpen {
		m.counters.HalfOpenRefused++
		return false, false
	}
	if m.load.halfOpen+m.failing() < limits.CookieThreshold && from.plain < limits.PerAddress {
		return false, true
	}
	if !whole {
		m.counters.Syntax++
		return false, false
	}
	m.turnCookies()
	if !m.Cookies.good(cookie, nonce, in.Remote, h.SPIi) {
		m.counters.CookiesSent++
		m.sendPlain(in, answerTo(h), []wire.Payload{&wire.Notify{Type: wire.Cookie, Data: m.Cookies.cookie(m.Cookies.Number, nonce, in.Remote, h.SPIi)}})
		return false, false
	}
	if m.load.halfOpen >= limits.HalfOpen || from.cookied >= limits.PerAddressCookie {
		m.counters.HalfOpenRefused++
		return false, false
	}
	return true, true
}

// answerTo is the header of an answer to IKE_SA_INIT that leaves no state.
func answerTo(h wire.Header) wire.Header {
	return wire.Header{SPIi: h.SPIi, Exchange: wire.IKESAInit, Response: true}
}
