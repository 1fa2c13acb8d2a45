// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/nhrpd/wire"
)

// wrong is a server that says yes to everything, looks at nothing, and answers errors with
// errors: what an NHS must not be.
type wrong struct {
	conn *net.IPConn
	mute bool // answers nothing at all
}

func (w *wrong) serve() {
	b := make([]byte, 1<<16)
	for {
		n, from, err := w.conn.ReadFromIP(b)
		if err != nil {
			return
		}
		if w.mute || n < greHeader+fixedHeader+8 || binary.BigEndian.Uint16(b[2:]) != wire.GREProtocol {
			continue
		}
		p := slices.Clone(b[greHeader:n])
		binary.BigEndian.PutUint16(p[offSize:], uint16(len(p)))
		p[offVersion], p[offHopCount] = wire.Version, 0
		switch wire.Type(p[offType]) {
		case wire.ErrorIndication: // an error about the error
		case wire.ResolutionReply, wire.RegistrationReply, wire.PurgeReply, wire.TrafficIndication:
			continue
		default:
			p[offType]++ // the reply, whatever is in it
		}
		_, _ = w.conn.WriteToIP(append(slices.Clone(b[:greHeader]), sum(p)...), from)
	}
}

// between two nodes there is nothing but a wire.
//
//	tester 198.51.100.1, .11 – .30 ── target 198.51.100.2
func withWrong(t *testing.T, w *wrong, f func(o Options)) {
	t.Helper()
	l, err := lab.New(fmt.Sprintf("cf%dbroken", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	n, target := l.Node("tester"), l.Node("target")
	l.Wire(&lab.Wire{
		A: lab.End{Node: "tester", Device: "eth0", Address: "198.51.100.1/24"},
		B: lab.End{Node: "target", Device: "eth0", Address: "198.51.100.2/24"},
	})
	o := Options{
		Role: NHS, Target: netip.MustParseAddr("198.51.100.2"), Server: netip.MustParsePrefix("10.0.0.1/16"), Key: -1,
		Wait: 50 * time.Millisecond, AtOnce: 8,
	}
	for i := 11; i <= 30; i++ {
		a := fmt.Sprintf("198.51.100.%d", i)
		n.Address("eth0", a+"/24")
		o.Local = append(o.Local, netip.MustParsePrefix(a+"/32"))
	}
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	err = target.Do(func() (err error) {
		w.conn, err = net.ListenIP("ip4:47", &net.IPAddr{IP: net.IPv4(198, 51, 100, 2)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.conn.Close()
	go w.serve()
	if err := n.Do(func() error { f(o); return nil }); err != nil {
		t.Fatal(err)
	}
}

// TestAWrongServerIsFoundOut: the suite can fail, and says what came instead.
func TestAWrongServerIsFoundOut(t *testing.T) {
	withWrong(t, &wrong{}, func(o Options) {
		results, err := Run(t.Context(), o, nil)
		if err != nil {
			t.Error(err)
			return
		}
		t.Log(Summary(results))
		verdicts := map[string]Verdict{}
		for _, r := range results {
			verdicts[r.ID] = r.Verdict
			if r.Verdict == Fail && r.Detail == "" {
				t.Errorf("%s fails without a reason", r.ID)
			}
		}
		for id, want := range map[string]Verdict{
			"HD-01": Fail, "HD-02": Fail, "HD-09": Fail, "CM-06": Fail, "CM-09": Fail, "RG-01": Fail, "RG-04": Fail, "RG-07": Fail,
			"RG-11": Fail, "PU-02": Fail, "ER-02": Fail, "EX-06": Fail, "RC-01": Fail, "RG-16": Differs, "SE-06": Differs,
			"HD-12": Pass, "CM-01": Pass, "AU-01": NotApplicable, "RP-08": NotApplicable,
		} {
			if verdicts[id] != want {
				t.Errorf("%s: %s, not %s", id, verdicts[id], want)
			}
		}
	})
}

// TestAServerThatIsNotThere is an error, and no list of failures.
func TestAServerThatIsNotThere(t *testing.T) {
	withWrong(t, &wrong{mute: true}, func(o Options) {
		if _, err := Run(t.Context(), o, nil); err == nil || !strings.Contains(err.Error(), "GRE key -1") {
			t.Errorf("%v", err)
		}
	})
}

func TestOptionsThatCannotBe(t *testing.T) {
	good := func() Options {
		return Options{
			Role: NHS, Target: netip.MustParseAddr("192.0.2.1"), Server: netip.MustParsePrefix("10.0.0.1/24"), Key: 42, Wait: time.Second,
			Local: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/29")},
		}
	}
	o := good()
	if err := o.Check(); err != nil || o.Clients.String() != "10.0.0.128/25" {
		t.Errorf("%v, clients %v", err, o.Clients)
	}
	if got := o.locals(); len(got) != 6 || got[0].String() != "198.51.100.1" || got[5].String() != "198.51.100.6" {
		t.Errorf("local addresses %v", got)
	}
	for what, change := range map[string]func(*Options){
		"--role":           func(o *Options) { o.Role = "hub" },
		"--target":         func(o *Options) { o.Target = netip.Addr{} },
		"--server-address": func(o *Options) { o.Server = netip.MustParsePrefix("10.0.0.1/32") },
		"--local":          func(o *Options) { o.Local = nil },
		"--key":            func(o *Options) { o.Key = 1 << 32 },
		"--auth":           func(o *Options) { o.Auth = "ninechars" },
		"--wait":           func(o *Options) { o.Wait = 0 },
		"--clients":        func(o *Options) { o.Clients = netip.MustParsePrefix("10.1.0.0/24") },
		"2001:db8::/48 is": func(o *Options) { o.Behind = netip.MustParsePrefix("2001:db8::/48") },
	} {
		o := good()
		if change(&o); o.Check() == nil || !strings.Contains(o.Check().Error(), what) {
			t.Errorf("%s: %v", what, o.Check())
		}
	}
}

func TestRowsAreChosenByTheirIDs(t *testing.T) {
	o := Options{Role: NHS, Run: regexp.MustCompile("^RG-0[12]$")}
	var ids []string
	for _, c := range o.Chosen() {
		ids = append(ids, c.ID)
	}
	if fmt.Sprint(ids) != "[RG-01 RG-02]" {
		t.Errorf("%v", ids)
	}
}

func TestAddressesOfAPrefix(t *testing.T) {
	p := netip.MustParsePrefix("100.64.0.0/10")
	for n, want := range map[uint32]string{1: "100.64.1.0", 2: "100.64.2.0", 256: "100.65.0.0"} {
		if got := nth(p, n, 24); got.String() != want {
			t.Errorf("number %d is %v, not %s", n, got, want)
		}
	}
	s := &suite{o: Options{Clients: netip.MustParsePrefix("10.0.0.248/29")}}
	seen := map[netip.Addr]int{}
	for n := uint32(1); n < 20; n++ {
		seen[s.client(n)]++
	}
	if len(seen) != 6 || seen[netip.MustParseAddr("10.0.0.249")] != 1 {
		t.Errorf("the control station's address comes again: %v", seen)
	}
}

func TestATableSaysWhatCameInstead(t *testing.T) {
	results := []Result{
		{ID: "RG-01", Role: NHS, Section: "5.2.3", Level: Must, Text: "one", Verdict: Pass},
		{ID: "RG-04", Role: NHS, Section: "5.2.3", Level: Must, Text: "two", Verdict: Fail, Detail: "code 0, not 14"},
	}
	if got := Summary(results); got != "2 cases: 1 pass, 1 FAIL" {
		t.Errorf("%q", got)
	}
	var b strings.Builder
	for _, r := range results {
		WriteLine(&b, r)
	}
	if !strings.Contains(b.String(), "FAIL") || !strings.Contains(b.String(), "code 0, not 14") {
		t.Errorf("%s", b.String())
	}
	b.Reset()
	Markdown(&b, Column{"x", results})
	if !strings.Contains(b.String(), "| RG-04 nhs | 5.2.3 | MUST |") || !strings.Contains(b.String(), "| FAIL: code 0, not 14 |") {
		t.Error("the table lacks a row")
	}
	b.Reset()
	List(&b)
	if n := strings.Count(b.String(), "\n"); n != len(Cases())+len(Hidden) {
		t.Errorf("%d lines in the list, for %d cases and %d hidden rows", n, len(Cases()), len(Hidden))
	}
}
