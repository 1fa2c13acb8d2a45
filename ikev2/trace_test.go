// SPDX-License-Identifier: Apache-2.0

package ikev2

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dmvpn/ikev2/sa"
)

func TestATraceHasTheMessagesOfItsPeer(t *testing.T) {
	a, b := newStation(t, "a.example.net"), newStation(t, "b.example.net")
	stranger, err := a.Trace(there.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	all, err := a.Trace()
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	a.Connect(a.want(b))
	eventually(t, "an IKE SA", func() bool { _, ok := agree(a, b); return ok })
	var first Line
	select {
	case first = <-all.Lines:
	case <-time.After(5 * time.Second):
		t.Fatal("no line")
	}
	if !first.Out || first.Remote != b.at || len(stranger.Lines) != 0 {
		t.Errorf("first %+v, and %d lines of a stranger", first, len(stranger.Lines))
	}
	// Nobody listened at b: it kept them all the same.
	addresses, err := b.Addresses(t.Context(), "a.example.net")
	if err != nil {
		t.Fatal(err)
	}
	late, err := b.Trace(addresses...)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if len(late.Last) < 4 || late.Last[0].Out || late.Last[0].Message != first.Message {
		t.Errorf("kept: %+v, first %+v", late.Last, first)
	}
	b.stop()
	for range late.Lines { // it ends with the service
	}
	if _, err := b.Trace(); !errors.Is(err, ErrStopped) {
		t.Errorf("a trace of what has stopped: %v", err)
	}
}

func line(n int) Line { return Line{Remote: there, Message: fmt.Sprint(n)} }

func TestASlowReaderMissesLinesAndIsTold(t *testing.T) {
	s := idle(t)
	slow, err := s.Trace()
	if err != nil {
		t.Fatal(err)
	}
	for i := range traceQueue + 5 {
		s.recorder.add(line(i))
	}
	for i := range traceQueue {
		if l := <-slow.Lines; l.Message != fmt.Sprint(i) || l.Missed != 0 {
			t.Fatalf("line %d is %+v", i, l)
		}
	}
	s.recorder.add(line(-1))
	if l := <-slow.Lines; l.Missed != 5 || l.Message != "-1" {
		t.Errorf("after the gap: %+v", l)
	}
	if got := s.Counters().TraceMissed; got != 5 {
		t.Errorf("counted %d", got)
	}
	slow.Close()
	slow.Close()
	if _, more := <-slow.Lines; more {
		t.Error("a line after Close")
	}
}

func TestTheLastLinesAreKept(t *testing.T) {
	s := idle(t)
	for i := range traceRing + 10 {
		s.recorder.add(line(i))
	}
	r, err := s.Trace()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Last); n != traceRing || r.Last[0].Message != "10" || r.Last[n-1].Message != fmt.Sprint(traceRing+9) {
		t.Errorf("%d lines, %s to %s", n, r.Last[0].Message, r.Last[n-1].Message)
	}
	for range traceReaders - 1 {
		if _, err := s.Trace(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Trace(); !errors.Is(err, ErrTraces) {
		t.Errorf("one reader too many: %v", err)
	}
}

func TestWhatNobodyAskedForIsDecodedAtABoundedRate(t *testing.T) {
	r := newRecorder()
	now := time.Unix(1e9, 0)
	asked := func(times int) (wanted int) {
		for range times {
			if r.wants(now, there.Addr()) {
				wanted++
			}
		}
		return wanted
	}
	if n := asked(10_000); n != traceBurst {
		t.Errorf("%d at once, want %d", n, traceBurst)
	}
	now = now.Add(10 * traceEvery)
	if n := asked(10_000); n != 10 {
		t.Errorf("%d after ten periods", n)
	}
	r.readers[&Trace{of: []netip.Addr{there.Addr()}}] = true
	if n := asked(100); n != 100 {
		t.Errorf("%d of 100 that somebody asked for", n)
	}
	if r.wants(now, here.Addr()) {
		t.Error("another address is decoded too")
	}
}

func TestOnePeerCannotFillTheLog(t *testing.T) {
	s := idle(t)
	out := &locked{}
	s.log = zerolog.New(out)
	now := time.Unix(1e9, 0)
	count := func() (lines int) {
		for _, c := range out.String() {
			if c == '\n' {
				lines++
			}
		}
		return lines
	}
	report := func(level sa.Level, remote netip.AddrPort) {
		s.report(now, &sa.Report{Level: level, Remote: remote, SA: 7, Message: "something"})
	}
	for range 1000 {
		report(sa.Debug, there)
	}
	if n := count(); n != logBurst {
		t.Errorf("%d lines of one peer, want %d", n, logBurst)
	}
	// Warnings of the same peer, and other peers, are still heard.
	report(sa.Alarm, there)
	report(sa.Debug, here)
	if n := count(); n != logBurst+2 || s.Counters().Unlogged != 1000-logBurst {
		t.Errorf("%d lines, %d left out", n, s.Counters().Unlogged)
	}
	now = now.Add(logEvery)
	report(sa.Debug, there)
	if text := out.String(); text[len(text)-80:] == "" || !contains(text, `"left_out":980`) {
		t.Errorf("what was left out is not told: %s", text[len(text)-200:])
	}
	// A flood from many addresses takes a bounded place, and a bounded part of the log.
	out.b.Reset()
	for i := range 10 * logPeers {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		report(sa.Debug, netip.AddrPortFrom(a, 500))
	}
	if n := len(s.reports.peers); n > logPeers+1 {
		t.Errorf("%d allowances", n)
	}
	if n := count(); n > logPeers+logBurst {
		t.Errorf("%d lines", n)
	}
}
