// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/bpf"
)

var labs atomic.Int32

// open makes a lab of this test's own and closes it when the test ends.
func open(t *testing.T) *Lab {
	t.Helper()
	l, err := New(fmt.Sprintf("t%dn%d", os.Getpid(), labs.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// chain builds
//
//	left 10.1.0.2 ── 10.1.0.1 router 10.2.0.1 ── 10.2.0.2 right
func chain(t *testing.T, delay time.Duration, inspect func([]byte)) (left, router, right *Node) {
	t.Helper()
	l := open(t)
	left, router, right = l.Node("left"), l.Router("router"), l.Node("right")
	l.Wire(&Wire{A: End{"left", "eth0", "10.1.0.2/24"}, B: End{"router", "left", "10.1.0.1/24"}, Delay: delay, Inspect: inspect})
	l.Wire(&Wire{A: End{"right", "eth0", "10.2.0.2/24"}, B: End{"router", "right", "10.2.0.1/24"}})
	left.Route("10.1.0.1", "default")
	right.Route("10.2.0.1", "default")
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	return left, router, right
}

// eventually waits for a condition, on a busy machine too.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

var rightAddress = netip.MustParseAddr("10.2.0.2")

func TestPacketsGoThroughARouter(t *testing.T) {
	left, _, right := chain(t, 0, nil)
	path, err := left.Trace(t.Context(), rightAddress)
	if err != nil {
		t.Fatal(err)
	}
	if len(path) != 2 || path[0].From.String() != "10.1.0.1" || path[1].From != rightAddress {
		t.Errorf("path %v", path)
	}
	s, err := left.Stream(right, netip.AddrPortFrom(rightAddress, 4000), 1000, 200)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "800 packets", func() bool { return s.Received() >= 800 })
	if r := s.Stop(); r.Lost() != 0 || r.Duplicated != 0 {
		t.Error(r)
	}
	talk, err := left.Talk(right, netip.AddrPortFrom(rightAddress, 4001))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "20 blocks", func() bool { return talk.Blocks() >= 20 })
	if r := talk.Stop(); r.Err != nil {
		t.Errorf("%+v", r)
	}
	if errors, err := right.ChecksumErrors(); errors != 0 || err != nil {
		t.Errorf("%d checksum errors, %v", errors, err)
	}
}

func TestAStreamReportsWhatALinkLoses(t *testing.T) {
	left, _, right := chain(t, 0, nil)
	s, err := left.Stream(right, netip.AddrPortFrom(rightAddress, 4000), 1000, 100)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "some packets", func() bool { return s.Received() >= 300 })
	if err := right.SetUp("eth0", false); err != nil {
		t.Fatal(err)
	}
	down, began := s.Snapshot(), time.Now()
	eventually(t, "300 more, which are lost", func() bool { return s.Snapshot().Sent >= down.Sent+300 })
	if err := right.SetUp("eth0", true); err != nil {
		t.Fatal(err)
	}
	gap := time.Since(began)
	if err := right.AddRoute("10.2.0.1", "default"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "more packets", func() bool { return s.Received() >= down.Received+300 })
	r := s.Stop()
	// Those under way when the device went may be lost, or not.
	const margin = 100
	if r.Lost() < 300-margin || r.Gap < gap*9/10 || r.FirstLost+margin < down.Received || r.FirstLost > down.Sent+margin {
		t.Errorf("%v; down at %v for %v", r, down, gap)
	}
}

func TestAWireWithADelayShowsInTheRoundTrip(t *testing.T) {
	var frames atomic.Int64
	left, _, right := chain(t, 20*time.Millisecond, func([]byte) { frames.Add(1) })
	if _, err := left.Ping(rightAddress, 0, 5*time.Second); err != nil { // ARP
		t.Fatal(err)
	}
	eventually(t, "a round trip of twice 20 ms, and not much more", func() bool {
		e, err := left.Ping(rightAddress, 0, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if e.RTT < 40*time.Millisecond {
			t.Fatalf("round trip %v on a wire of 20 ms", e.RTT)
		}
		return e.RTT < 60*time.Millisecond
	})
	if frames.Load() < 4 {
		t.Errorf("the inspector saw %d frames", frames.Load())
	}
	talk, err := left.Talk(right, netip.AddrPortFrom(rightAddress, 4001))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "3 blocks", func() bool { return talk.Blocks() >= 3 })
	if r := talk.Stop(); r.Err != nil {
		t.Errorf("%+v", r)
	}
}

func TestACaptureSeesBothDirections(t *testing.T) {
	left, router, _ := chain(t, 0, nil)
	c, err := router.Capture("left", func(f Frame) bool { return len(f.Data) > 34 && f.Data[12] == 8 && f.Data[13] == 0 })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := left.Ping(rightAddress, 0, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both frames", func() bool { return len(c.Frames()) >= 2 })
	var in, out int
	for _, f := range c.Close() {
		if f.Outgoing {
			out++
		} else {
			in++
		}
	}
	if in != 1 || out != 1 {
		t.Errorf("%d in, %d out", in, out)
	}
}

func TestACaptureLeavesAPortOut(t *testing.T) {
	left, router, right := chain(t, 0, nil)
	const all = 1 << 18
	port := []bpf.Instruction{ // of UDP, where the IP header has no options
		bpf.LoadAbsolute{Off: 36, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 4500, SkipFalse: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: all},
	}
	c, err := router.CaptureOnly("left", port, func(f Frame) bool { return len(f.Data) > 34 && f.Data[12] == 8 && f.Data[13] == 0 })
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range []uint16{4500, 4501} {
		s, err := left.Stream(right, netip.AddrPortFrom(rightAddress, port), 1000, 200)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "100 packets", func() bool { return s.Received() >= 100 })
		s.Stop()
	}
	if _, err := left.Ping(rightAddress, 0, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Settle(10 * time.Second); err != nil {
		t.Error(err)
	}
	seen := map[byte]int{} // by protocol
	for _, f := range c.Close() {
		seen[f.Data[23]]++
		if f.Data[23] == 17 && f.Data[37] != 4501&0xff {
			t.Fatalf("a packet to port %d", int(f.Data[36])<<8|int(f.Data[37]))
		}
	}
	if seen[17] < 100 || seen[1] != 2 {
		t.Errorf("seen by protocol: %v", seen)
	}
}

func TestAProgramSeesItsNodeAlone(t *testing.T) {
	left, _, _ := chain(t, 0, nil)
	if err := left.File("/etc/resolv.conf", "nameserver 10.2.0.2\n"); err != nil {
		t.Fatal(err)
	}
	out, err := left.Run(t.Context(), "sh", "-c", "ls /sys/class/net; cat /etc/resolv.conf; stat -f -c %T /sys/fs/bpf; ls -d /run/dmvpn")
	if err != nil {
		t.Fatal(err)
	}
	if want := "eth0\nlo\nnameserver 10.2.0.2\nbpf_fs\n/run/dmvpn\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	if _, err := left.Run(t.Context(), "sh", "-c", "echo trouble >&2; exit 3"); err == nil || !strings.Contains(err.Error(), "trouble") {
		t.Errorf("error %v", err)
	}
}

func TestTheDNSServerAnswers(t *testing.T) {
	left, _, right := chain(t, 0, nil)
	d, err := right.DNS(rightAddress)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.Set("hub.example.net", netip.MustParseAddr("192.0.2.1"))
	if err := left.File("/etc/resolv.conf", "nameserver 10.2.0.2\n"); err != nil {
		t.Fatal(err)
	}
	out, err := left.Run(t.Context(), "getent", "ahostsv4", "hub.example.net")
	if err != nil || !strings.HasPrefix(out, "192.0.2.1 ") {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := left.Run(t.Context(), "getent", "ahostsv4", "other.example.net"); err == nil {
		t.Errorf("an unknown name resolved to %q", out)
	}
}

func TestALostCarrierIsCounted(t *testing.T) {
	left, router, _ := chain(t, 0, nil)
	before, err := left.CarrierLosses(t.Context(), "eth0")
	if err != nil {
		t.Fatal(err)
	}
	for _, up := range []bool{false, true} {
		if err := router.SetUp("left", up); err != nil {
			t.Fatal(err)
		}
		if has, err := left.Carrier("eth0"); has != up || err != nil {
			t.Errorf("carrier %v, %v", has, err)
		}
	}
	if after, err := left.CarrierLosses(t.Context(), "eth0"); after != before+1 || err != nil {
		t.Errorf("%d losses, then %d, %v", before, after, err)
	}
}

func TestALabInUseIsRefused(t *testing.T) {
	l := open(t)
	if _, err := New(l.Name); err == nil || !strings.Contains(err.Error(), fmt.Sprint("in use by process ", os.Getpid())) {
		t.Errorf("error %v", err)
	}
}

// owner is a process of its own that makes a lab with a program in it, and says
// so.
const ownerVariable = "DMVPN_LAB_TEST_OWNER"

func TestMain(m *testing.M) {
	if name := os.Getenv(ownerVariable); name != "" {
		l, err := New(name)
		if err == nil {
			l.Node("node")
			err = l.Err()
		}
		if err == nil {
			_, err = l.Get("node").Launch("sleep", "sleep", "600")
		}
		fmt.Println("ready", err)
		select {}
	}
	os.Exit(m.Run())
}

// TestNothingIsLeft: whichever way the owner ends, nothing of the lab remains.
func TestNothingIsLeft(t *testing.T) {
	for i, end := range []string{"SIGINT", "SIGTERM", "SIGKILL", "Remove"} {
		t.Run(end, func(t *testing.T) {
			name := fmt.Sprintf("t%dend%d", os.Getpid(), i)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, "/proc/self/exe")
			cmd.Env = append(os.Environ(), ownerVariable+"="+name)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil || line != "ready <nil>\n" {
				t.Fatalf("%q, %v", line, err)
			}
			if end == "Remove" {
				if err := Remove(name); err != nil {
					t.Error(err)
				}
			} else if err := exec.CommandContext(ctx, "kill", "-"+end[3:], fmt.Sprint(cmd.Process.Pid)).Run(); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait()
			gone(t, name)
		})
	}
}

func gone(t *testing.T, name string) {
	t.Helper()
	left := func() []string {
		found, _ := filepath.Glob(filepath.Join(netnsDir, namespaceName(name, "*")))
		if _, err := os.Stat(filepath.Join(Root, name)); err == nil {
			found = append(found, filepath.Join(Root, name))
		}
		return found
	}
	for deadline := time.Now().Add(10 * time.Second); len(left()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %v", left())
		}
	}
}
