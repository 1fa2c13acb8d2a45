// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"encoding/binary"
	"net/netip"
	"os"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// frame is one NHRP packet of a capture.
type frame struct {
	number   int
	at       time.Time
	src, dst netip.Addr
	data     []byte
}

// capture reads the NHRP packets of one of the codec's captures: plain GRE with
// a key, in IPv4, in Ethernet.
func capture(t testing.TB, name string) []frame {
	t.Helper()
	b, err := os.ReadFile("../wire/testdata/nhrp/" + name + ".pcap")
	if err != nil {
		t.Fatal(err)
	}
	var frames []frame
	b = b[24:]
	for number := 1; len(b) > 0; number++ {
		seconds, micros, n := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), int(binary.LittleEndian.Uint32(b[8:]))
		ip := b[16+14 : 16+n]
		if ip[9] == 47 && binary.BigEndian.Uint16(ip[22:]) == wire.GREProtocol {
			src, _ := netip.AddrFromSlice(ip[12:16])
			dst, _ := netip.AddrFromSlice(ip[16:20])
			frames = append(frames, frame{number, time.Unix(int64(seconds), int64(micros)*1000), src, dst, ip[28:]})
		}
		b = b[16+n:]
	}
	if len(frames) == 0 {
		t.Fatalf("%s holds no NHRP", name)
	}
	return frames
}

func decode(t *testing.T, b []byte) *wire.Packet {
	t.Helper()
	p, err := wire.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The captured hubs' part is played by ours: every packet that they got, we get
// at the same time, and every packet that they sent, we send, but for the hop
// count of what is our own, and for what the last column of a row allows.
func TestGoldenHub(t *testing.T) {
	for _, x := range []struct {
		name    string
		config  func(*engine.Config)
		compare func(t *testing.T, number int, got, want *wire.Packet)
	}{
		{"frr-direct-hub", func(c *engine.Config) {}, nil},
		{"frr-nat-hub", func(c *engine.Config) {}, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			hub := netip.MustParseAddr("192.0.2.2")
			config := engine.Config{
				Address: netip.MustParsePrefix("10.0.0.1/24"), HoldingTime: time.Minute, Redirect: true,
				Networks: []netip.Prefix{netip.MustParsePrefix("10.10.0.0/24")},
			}
			x.config(&config)
			w := nhrptest.New(1)
			n := w.Add("H", hub.String(), config)
			n.SetKernel(append(n.Kernel,
				nhrptest.Route{Prefix: prefix("10.10.1.0/24"), NextHop: addr("10.0.0.11"), Tunnel: true},
				nhrptest.Route{Prefix: prefix("10.10.2.0/24"), NextHop: addr("10.0.0.12"), Tunnel: true}))
			var sent []engine.Send // ours, not yet seen in the capture
			for _, f := range capture(t, x.name) {
				p := decode(t, f.data)
				switch {
				case f.dst == hub:
					for _, a := range n.Machine.Handle(f.at, engine.Packet{From: engine.Endpoint{NBMA: f.src}, Data: f.data}) {
						if s, ok := a.(engine.Send); ok {
							sent = append(sent, s)
						}
					}
				case p.Type == wire.TrafficIndication:
					compareIndication(t, n.Machine, f, p)
				default:
					sent = compareSent(t, sent, f, p)
				}
			}
		})
	}
}

// compareSent looks for what the captured hub sent among what ours did.
func compareSent(t *testing.T, sent []engine.Send, f frame, p *wire.Packet) []engine.Send {
	t.Helper()
	for i, s := range sent {
		q := decode(t, s.Data)
		if q.Type != p.Type || q.RequestID != p.RequestID || s.To.NBMA != f.dst {
			continue
		}
		if q.HopCount == wire.HopCount {
			q.HopCount = p.HopCount
		}
		if got, _ := q.Marshal(); string(got) != string(f.data) {
			t.Errorf("frame %d\nours:   %v\ntheirs: %v", f.number, q, p)
		}
		return append(sent[:i:i], sent[i+1:]...)
	}
	t.Errorf("frame %d: we did not send %v", f.number, p)
	return sent
}

// compareIndication gives ours the packet of an indication that the captured
// hub sent: it sends the same, to the same peer.
func compareIndication(t *testing.T, m *engine.Machine, f frame, p *wire.Packet) {
	t.Helper()
	for _, a := range m.Handle(f.at, engine.Redirect{Data: p.Contents}) {
		s, ok := a.(engine.Send)
		if !ok {
			continue
		}
		q := decode(t, s.Data)
		if s.To.NBMA != f.dst || q.Type != p.Type || q.SourceProtocol != p.SourceProtocol || q.SourceNBMA != p.SourceNBMA ||
			q.DestinationProtocol != p.DestinationProtocol || string(q.Contents) != string(p.Contents[:len(q.Contents)]) {
			t.Errorf("frame %d\nours:   %v\ntheirs: %v", f.number, q, p)
		}
		return
	}
	t.Errorf("frame %d: we did not send %v", f.number, p)
}

// OpenNHRP's hub answers as ours does, in codes and addresses: with a secret, to
// spokes without it or with another, and, from frame 51 on, without. A wrong
// secret it passes over in silence; we say error 11.
func TestGoldenOpenNHRP(t *testing.T) {
	const withoutSecret = 51
	hub := netip.MustParseAddr("192.0.2.2")
	start := func(secret string) *engine.Machine {
		config := engine.Config{Address: netip.MustParsePrefix("10.0.0.1/24"), HoldingTime: time.Minute, Redirect: true, Authentication: secret}
		n := nhrptest.New(1).Add("H", hub.String(), config)
		n.SetKernel(append(n.Kernel,
			nhrptest.Route{Prefix: prefix("10.10.1.0/24"), NextHop: addr("10.0.0.11"), Tunnel: true},
			nhrptest.Route{Prefix: prefix("10.10.2.0/24"), NextHop: addr("10.0.0.12"), Tunnel: true}))
		return n.Machine
	}
	m := start("test1234")
	var sent []*wire.Packet
	failures := 0
	for _, f := range capture(t, "opennhrp-hub") {
		if f.number == withoutSecret {
			m, sent = start(""), nil
		}
		p := decode(t, f.data)
		if f.dst == hub {
			for _, a := range m.Handle(f.at, engine.Packet{From: engine.Endpoint{NBMA: f.src}, Data: f.data}) {
				s, ok := a.(engine.Send)
				if !ok {
					continue
				}
				q := decode(t, s.Data)
				if q.Type == wire.ErrorIndication {
					want(t, "error", q.ErrorCode, wire.ErrorAuthenticationFailure)
					failures++
				}
				if secret := q.Extension(wire.ExtensionAuthentication); (secret != nil) != (f.number < withoutSecret && q.Type != wire.ErrorIndication) {
					t.Errorf("frame %d: authentication %v in %v", f.number, secret, q)
				}
				sent = append(sent, q)
			}
			continue
		}
		if p.Type == wire.TrafficIndication || p.Type == wire.ErrorIndication {
			continue // its errors have extensions; NAK 12 is ours where it says error 6
		}
		found := false
		for i, q := range sent {
			if q.Type != p.Type || q.RequestID != p.RequestID || q.SourceProtocol != p.SourceProtocol {
				continue
			}
			found = true
			want(t, "entries", len(q.CIEs), len(p.CIEs))
			for j, c := range q.CIEs[:min(len(q.CIEs), len(p.CIEs))] {
				d := p.CIEs[j]
				if c.Code != d.Code || c.Prefix(c.Protocol) != d.Prefix(d.Protocol) || c.NBMA != d.NBMA || c.HoldingTime != d.HoldingTime {
					t.Errorf("frame %d, entry %d\nours:   %v\ntheirs: %v", f.number, j, q, p)
				}
			}
			sent = append(sent[:i:i], sent[i+1:]...)
			break
		}
		if !found {
			t.Errorf("frame %d: we did not send %v", f.number, p)
		}
	}
	want(t, "authentication failures told", failures > 5, true)
	s := m.Snapshot(nhrptest.Start)
	want(t, "the purges after the registrations did no harm", len(s.Bindings), 2)
}
