// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dmvpn/cmd/internal/lab"
)

const (
	wireguardPort = 51820
	// wireguardRun is where wireguard-go makes its sockets.
	wireguardRun = "/var/run/wireguard"
)

// wireguardGo is WireGuard in Go, configured over its own socket
// (https://www.wireguard.com/xplatform).
type wireguardGo struct {
	course  *course
	program string
	running []*lab.Process
}

func (w *wireguardGo) device() string            { return "wg0" }
func (w *wireguardGo) processes() []*lab.Process { return w.running }

func (w *wireguardGo) start(ctx context.Context) error {
	if err := os.MkdirAll(wireguardRun, 0o755); err != nil {
		return err
	}
	keys := map[end]*ecdh.PrivateKey{}
	for _, e := range []end{endA, endB} {
		var err error
		if keys[e], err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			return err
		}
		node := w.course.node(e)
		if err := os.MkdirAll(w.socketDir(node), 0o755); err != nil {
			return err
		}
		node.Bind(wireguardRun, w.socketDir(node))
		p, err := node.Launch("wireguard", w.program, "-f", w.device())
		if err != nil {
			return err
		}
		w.running = append(w.running, p)
	}
	for _, e := range [][2]end{{endA, endB}, {endB, endA}} {
		_, err := w.ask(ctx, w.course.node(e[0]), fmt.Sprintf(
			"set=1\nprivate_key=%x\nlisten_port=%d\nreplace_peers=true\npublic_key=%x\nendpoint=%s:%d\nreplace_allowed_ips=true\nallowed_ip=%s\n\n",
			keys[e[0]].Bytes(), wireguardPort, keys[e[1]].PublicKey().Bytes(), e[1].gateway, wireguardPort, e[1].site))
		if err != nil {
			return err
		}
	}
	for _, step := range []func(self, peer end) []string{
		func(end, end) []string {
			return []string{"ip", "link", "set", w.device(), "mtu", fmt.Sprint(innerMTU), "up"}
		},
		func(_, peer end) []string { return []string{"ip", "route", "add", peer.site, "dev", w.device()} },
	} {
		if err := w.course.both(ctx, step); err != nil {
			return err
		}
	}
	return nil
}

func (w *wireguardGo) socketDir(n *lab.Node) string { return filepath.Join(n.Dir, "wireguard") }

// ask sends one request to the program in a node, which may not listen yet.
func (w *wireguardGo) ask(ctx context.Context, n *lab.Node, request string) (string, error) {
	var conn net.Conn
	for {
		var err error
		if conn, err = net.Dial("unix", filepath.Join(w.socketDir(n), w.device()+".sock")); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-time.After(20 * time.Millisecond):
		}
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		return "", err
	}
	var answer []byte
	buf := make([]byte, 4096)
	for !strings.HasSuffix(string(answer), "\n\n") {
		k, err := conn.Read(buf)
		if answer = append(answer, buf[:k]...); err != nil {
			return "", fmt.Errorf("%s: answer of wireguard-go: %w: %q", n.Name, err, answer)
		}
	}
	if !strings.Contains(string(answer), "errno=0\n") {
		return "", fmt.Errorf("%s: wireguard-go refuses: %q", n.Name, answer)
	}
	return string(answer), nil
}

func (w *wireguardGo) received(ctx context.Context) (octets uint64, err error) {
	answer, err := w.ask(ctx, w.course.b, "get=1\n\n")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(answer) {
		if n, ok := strings.CutPrefix(line, "rx_bytes="); ok {
			_, err = fmt.Sscan(n, &octets)
		}
	}
	return octets, err
}
