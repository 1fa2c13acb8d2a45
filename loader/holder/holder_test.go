// SPDX-License-Identifier: Apache-2.0

package holder

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"dmvpn/loader/kernel"
	"dmvpn/loader/netnstest"
)

// The test binary is the holder and the daemon, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "hold" {
		if err := Serve(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 3 && os.Args[1] == "daemon" {
		if err := daemon(os.Args[2]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// daemon makes or takes up the tunnel, says so, and waits to be killed.
func daemon(path string) error {
	c, err := Start(path, []string{os.Args[0], "hold", path}, "")
	if err != nil {
		return err
	}
	h, err := kernel.Open()
	if err != nil {
		return err
	}
	queue, err := c.Get("tun/dmvpn0")
	if err != nil && !errors.Is(err, ErrAbsent) {
		return err
	}
	spec := kernel.TunnelSpec{Name: "dmvpn0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.11/24")}, MTU: 1400}
	if queue != nil {
		spec.Queues = append(spec.Queues, queue)
	}
	d, err := h.EnsureTunnel(spec)
	if err != nil {
		return err
	}
	if err := c.Put("tun/dmvpn0", d.Queues[0]); err != nil {
		return err
	}
	fmt.Println("up", d.Adopted)
	b := make([]byte, 2000)
	for {
		n, err := d.Queues[0].Read(b)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", b[n-4:n])
	}
}

func socketPath(t *testing.T) string { return filepath.Join(t.TempDir(), "holder.sock") }

func start(t *testing.T, path string) *Client {
	t.Helper()
	c, err := Start(path, []string{os.Args[0], "hold", path}, path+".log")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Stop() })
	return c
}

// TestTheHolderInheritsNothing: a lock that whoever started the daemon holds is
// not held by the holder.
func TestTheHolderInheritsNothing(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "lock")
	fd, err := unix.Open(lock, unix.O_CREAT|unix.O_RDWR, 0o600) // without O_CLOEXEC
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(fd, unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	start(t, socketPath(t))
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
	again, err := unix.Open(lock, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(again)
	if err := unix.Flock(again, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("the lock is still held: %v", err)
	}
}

func TestADescriptorOutlivesWhoGaveIt(t *testing.T) {
	path := socketPath(t)
	first := start(t, path)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := first.Put("pipe", w); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	second := start(t, path) // the same holder
	again, err := second.Get("pipe")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
	if names, err := second.List(); err != nil || len(names) != 1 || names[0] != "pipe" {
		t.Errorf("names %v, %v", names, err)
	}
	if err := second.Drop("pipe"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "hello" {
		t.Errorf("read %q, %v: the pipe should end when the holder drops it", got, err)
	}
	if _, err := second.Get("pipe"); !errors.Is(err, ErrAbsent) {
		t.Errorf("got %v", err)
	}
	if err := second.Drop("pipe"); err != nil {
		t.Errorf("dropped twice: %v", err)
	}
}

func TestStopEndsTheHolderAndItsSocket(t *testing.T) {
	path := socketPath(t)
	if err := start(t, path).Stop(); err != nil {
		t.Fatal(err)
	}
	netnstest.Eventually(t, "the socket is gone", func() bool {
		_, err := os.Stat(path)
		return errors.Is(err, os.ErrNotExist)
	})
}

func TestTheEndOfAHolderIsSeenAndAnotherTakesItsPlace(t *testing.T) {
	path := socketPath(t)
	c := start(t, path)
	ended, stop, err := Watch(path)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	select {
	case <-ended:
		t.Fatal("it has not ended")
	case <-time.After(50 * time.Millisecond):
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	<-ended
	netnstest.Eventually(t, "the socket is gone", func() bool {
		_, err := os.Stat(path)
		return errors.Is(err, os.ErrNotExist)
	})
	c.Replace(start(t, path))
	if names, err := c.List(); err != nil || len(names) > 0 {
		t.Errorf("the next one: %v, %v", names, err)
	}
	if _, _, err := Watch(path + "x"); err == nil {
		t.Error("nobody is watched")
	}
}

func TestASecondHolderIsRefusedAndADeadOneReplaced(t *testing.T) {
	path := socketPath(t)
	start(t, path)
	if err := Serve(path); err == nil || !strings.Contains(err.Error(), "another holder serves") {
		t.Errorf("got %v", err)
	}
	dead := socketPath(t)
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: dead, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	if names, err := start(t, dead).List(); err != nil || len(names) != 0 {
		t.Errorf("got %v, %v", names, err)
	}
}

func TestAHolderThatCannotStartIsNamed(t *testing.T) {
	if _, err := Start(socketPath(t), []string{"/bin/false"}, ""); err == nil || !strings.Contains(err.Error(), "/bin/false ended at once: exit status 1") {
		t.Errorf("got %v", err)
	}
}

// nobody is a user who is not us.
const nobody = 65534

func TestOtherUsersAreNotServed(t *testing.T) {
	path := socketPath(t)
	c := start(t, path)
	for dir := filepath.Dir(path); dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	asked := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine: it is another user's from here on
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			asked <- nil
			return
		}
		stranger, err := Dial(path)
		if err == nil {
			_, err = stranger.List()
			_ = stranger.Close()
		}
		asked <- err
	}()
	if err := <-asked; !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
		t.Errorf("another user was answered, or could not ask: %v", err)
	}
	if _, err := c.List(); err != nil {
		t.Errorf("the owner: %v", err)
	}
}

// TestTheCarrierStaysWhenTheDaemonIsKilled: packets that come meanwhile wait for
// the next one.
func TestTheCarrierStaysWhenTheDaemonIsKilled(t *testing.T) {
	netnstest.Enter(t)
	path := socketPath(t)
	carrierChanges := regexp.MustCompile(`"carrier_changes":(\d+)`)
	changes := func() string {
		return carrierChanges.FindString(netnstest.Run(t, "ip -j -s -s link show dmvpn0"))
	}
	run := func() (*exec.Cmd, func() string) {
		t.Helper()
		p := exec.Command(os.Args[0], "daemon", path)
		out, err := p.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		return p, func() string {
			t.Helper()
			b := make([]byte, 200)
			if err := out.(*os.File).SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			n, err := out.Read(b)
			if err != nil {
				t.Fatalf("the daemon says nothing: %v", err)
			}
			return string(b[:n])
		}
	}
	first, line := run()
	if got := line(); got != "up false\n" {
		t.Fatalf("got %q", got)
	}
	c, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Stop() })
	before := changes()
	if err := first.Process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	if link := netnstest.Run(t, "ip link show dmvpn0"); !strings.Contains(link, "LOWER_UP") {
		t.Fatalf("the carrier dropped:\n%s", link)
	}
	ping := exec.Command("ping", "-c1", "-W1", "-p", "41", "-s", "32", "10.0.0.1")
	_ = ping.Run() // nobody answers: it waits in the queue

	second, line := run()
	if got := line(); !strings.HasPrefix(got, "up true\n") {
		t.Fatalf("got %q", got)
	} else if !strings.Contains(got, "AAAA") && line() != "AAAA\n" {
		t.Error("the packet did not wait for the daemon")
	}
	if after := changes(); after != before || before == "" {
		t.Errorf("%s, before %s", after, before)
	}
	if err := second.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = second.Wait()
}
