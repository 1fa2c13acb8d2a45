// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dmvpn/cmd/internal/control"
	"dmvpn/loader/netnstest"
)

func TestMain(m *testing.M) {
	if os.Getenv("IKEPEER_RUN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// peer is a process that runs.
type peer struct {
	socket string
	log    string
	cmd    *exec.Cmd
	client *control.Client
}

// newPeer starts ikepeer in the test's namespace.
func newPeer(t *testing.T, address, toml string, arguments ...string) *peer {
	t.Helper()
	folder := t.TempDir()
	file := filepath.Join(folder, "peer.toml")
	if err := os.WriteFile(file, []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &peer{socket: filepath.Join(folder, "s"), log: filepath.Join(folder, "log")}
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd = ikepeer(t, append([]string{"-c", file, "--local", address, "--socket", p.socket}, arguments...)...)
	p.cmd.Stderr = log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			t.Errorf("%s: %v\n%s", address, err, p.says(t))
		}
	})
	netnstest.Eventually(t, address+" is ready", func() bool { return strings.Contains(p.says(t), " ready ") })
	p.client = control.NewClient(p.socket)
	t.Cleanup(p.client.Close)
	return p
}

func ikepeer(t *testing.T, arguments ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, arguments...)
	c.Env = append(os.Environ(), "IKEPEER_RUN=1")
	return c
}

func (p *peer) says(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// connect runs ikepeer connect and gives its standard error.
func (p *peer) connect(t *testing.T, host string) (string, error) {
	t.Helper()
	c := ikepeer(t, "connect", "--socket", p.socket, host)
	var said bytes.Buffer
	c.Stderr = &said
	err := c.Run()
	return said.String(), err
}

const secret = "[ipsec]\npsk = \"a-key-that-is-shared\"\nidentity = "

func TestOneConnectsToAnother(t *testing.T) {
	for name, x := range map[string][2]string{"IPv4": {"127.0.0.1", "127.0.0.2"}, "IPv6": {"fd00::1", "fd00::2"}} {
		t.Run(name, func(t *testing.T) { oneConnectsToAnother(t, x[0], x[1]) })
	}
}

func oneConnectsToAnother(t *testing.T, from, to string) {
	netnstest.Enter(t)
	if strings.Contains(from, ":") {
		for _, address := range []string{from, to} {
			netnstest.Run(t, "ip address add "+address+"/128 dev lo nodad")
			netnstest.Eventually(t, "the route to "+address, func() bool { return strings.Contains(netnstest.Run(t, "ip -6 route show table local"), address) })
		}
	}
	a := newPeer(t, from, secret+`"a.example.net"`)
	b := newPeer(t, to, secret+`"b.example.net"`)
	for range 2 { // the second time it is there already
		if said, err := a.connect(t, to); err != nil {
			t.Fatalf("connect: %v: %s\n%s", err, said, a.says(t))
		}
	}
	mine, err := a.client.IKE(t.Context())
	if err != nil || len(mine.SAs) != 1 || len(mine.SAs[0].Children) != 1 {
		t.Fatalf("%+v, %v", mine, err)
	}
	x := mine.SAs[0]
	netnstest.Eventually(t, "the other end has the same", func() bool {
		theirs, err := b.client.IKE(t.Context())
		return err == nil && len(theirs.SAs) == 1 && theirs.SAs[0].SPIi == x.SPIi && len(theirs.SAs[0].Children) == 1 &&
			theirs.SAs[0].Children[0].Outbound == x.Children[0].Inbound
	})
	for _, spi := range []string{x.SPIi, x.SPIr, x.Children[0].Inbound, x.Children[0].Outbound} {
		if !strings.Contains(a.says(t), spi) || !strings.Contains(b.says(t), spi) {
			t.Errorf("a log does not name the SPI %s", spi)
		}
	}
}

func TestAnAttemptThatIsRefusedSaysWhy(t *testing.T) {
	netnstest.Enter(t)
	a := newPeer(t, "127.0.0.1", secret+`"a.example.net"`)
	newPeer(t, "127.0.0.2", strings.Replace(secret, "shared", "not shared", 1)+`"b.example.net"`)
	said, err := a.connect(t, "127.0.0.2")
	if err == nil || !strings.Contains(said, "AUTHENTICATION_FAILED") {
		t.Errorf("connect: %v: %s", err, said)
	}
	said, err = a.connect(t, "127.0.0.2:nowhere")
	if err == nil || said == "" {
		t.Errorf("connect to no address: %v: %s", err, said)
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	folder := t.TempDir()
	good, bad := filepath.Join(folder, "good.toml"), filepath.Join(folder, "bad.toml")
	for file, text := range map[string]string{good: secret + `"a.example.net"`, bad: "[ipsec]\npks = \"x\"\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		arguments []string
		want      string
	}{
		{[]string{}, `required flag(s) "config" not set`},
		{[]string{"-c", bad}, bad + ":2:1: ipsec.pks: unknown key; did you mean \"psk\"?"},
		{[]string{"-c", good, "--local", "here"}, "--local: "},
		{[]string{"-c", good, "--installer", "none"}, `--installer "none": write xfrm, plain or auto`},
		{[]string{"-c", good, "--here", "x"}, `selector "x" is no prefix`},
		{[]string{"connect", "--socket", folder + "/none", "192.0.2.1"}, "there is no " + folder + "/none"},
	} {
		said, err := ikepeer(t, c.arguments...).CombinedOutput()
		if err == nil || !strings.HasPrefix(string(said), "ikepeer: ") || !strings.Contains(string(said), c.want) {
			t.Errorf("%q: %v: %s", c.arguments, err, said)
		}
	}
}
