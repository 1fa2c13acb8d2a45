// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dmvpn/ikev2/iketest/pair"
	"dmvpn/ikev2/sa"
)

// cpu is the CPU time of the process: of one thread and the garbage collector, under
// alone. What else runs on the machine does not count.
func cpu(b *testing.B) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

func alone(b *testing.B) {
	before := runtime.GOMAXPROCS(1)
	b.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

// peer numbers the initiators of a benchmark.
func peer(n int) (name string, address netip.Addr) {
	return fmt.Sprintf("spoke%d.example", n), netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 0x0a000000+uint32(n))))
}

// crowd lets n peers connect to the second end.
func crowd(tb testing.TB, p *pair.Pair, first, n int) {
	tb.Helper()
	for i := first; i < first+n; i++ {
		p.Replace(peer(i))
		p.Connect()
		p.Run()
	}
	if c := p.Ends[1].Machine.Counters(); c.Established != first+n || p.Err() != nil {
		tb.Fatalf("%d IKE SAs of %d, %v", c.Established, first+n, p.Err())
	}
}

var elapsed = &sa.Elapsed{}

var policies = []struct {
	name   string
	policy pair.Policy
}{
	{"PSK, X25519", pair.Policy{IKE: "aes256gcm16-prfsha256-x25519"}},
	{"PSK, X25519, ML-KEM-768", pair.Policy{IKE: "aes256gcm16-prfsha256-x25519-ke1_mlkem768"}},
	{"PSK, default", pair.Policy{}},
	{"ECDSA P-256, X25519", pair.Policy{IKE: "aes256gcm16-prfsha256-x25519", Certificates: true}},
}

// BenchmarkResponder is a whole handshake, of which only what the responder does counts.
func BenchmarkResponder(b *testing.B) {
	for _, c := range policies {
		for _, others := range []int{0, 10000} {
			b.Run(fmt.Sprintf("%s, %d others", c.name, others), func(b *testing.B) {
				alone(b)
				p := pair.New(1, c.policy)
				crowd(b, p, 0, others)
				var spent time.Duration
				n := others
				for b.Loop() {
					p.Replace(peer(n))
					n++
					p.Connect()
					for m, ok := p.Take(); ok; m, ok = p.Take() {
						start := cpu(b)
						p.Input(m.To, &m.Datagram)
						if m.To == 1 {
							spent += cpu(b) - start
						}
					}
				}
				if p.Ends[1].Machine.Counters().Established != n || p.Err() != nil {
					b.Fatal(p.Err())
				}
				b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "µs-CPU-responder/op")
			})
		}
	}
}

// BenchmarkBogusInit is an IKE_SA_INIT of a stranger while cookies are asked for.
func BenchmarkBogusInit(b *testing.B) {
	p := pair.New(1, pair.Policy{Change: nil})
	p.Ends[1].Config.Limits.CookieThreshold = 1
	p.Ends[1].Machine = sa.New(p.Now, p.Ends[1].Config)
	p.Connect()
	m, _ := p.Take()
	p.Input(1, &m.Datagram)
	p.Wire = nil
	alone(b)
	i, start := uint32(0), cpu(b)
	for b.Loop() {
		i++
		binary.BigEndian.PutUint32(m.Data, i)
		m.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, i))), 500)
		p.Ends[1].Machine.Handle(p.Now, &m.Datagram)
	}
	b.ReportMetric(float64(cpu(b)-start)/float64(b.N), "ns-CPU/op")
	if c := p.Ends[1].Machine.Counters(); c.CookiesSent != uint64(i) {
		b.Fatal(c)
	}
}
