// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// isProtocolUnreachable says whether a frame is ICMP by which a host says that it does not
// know an IP protocol.
func isProtocolUnreachable(f lab.Frame) bool {
	const icmp = 14 + 20
	return len(f.Data) > icmp+1 && f.Data[14+9] == 1 && f.Data[icmp] == 3 && f.Data[icmp+1] == 2
}

// rawESPSocket gives the inode of a node's raw socket of ESP.
func rawESPSocket(t *testing.T, n *lab.Node) string {
	t.Helper()
	var table []byte
	check(t, n.Do(func() (err error) {
		table, err = os.ReadFile("/proc/thread-self/net/raw")
		return err
	}))
	const port = "0032" // of protocol 50
	found := regexp.MustCompile(`(?m)^ *\d+: [0-9A-F]{8}:`+port+` .*$`).FindAllString(string(table), -1)
	if len(found) != 1 {
		t.Fatalf("%s has %d raw sockets of ESP:\n%s", n.Name, len(found), table)
	}
	return strings.Fields(found[0])[9]
}

// TestTheRawSocketOutlivesTheDaemon: killed or stopped, a daemon leaves its socket of raw ESP
// to the next one; nobody is told meanwhile that ESP is not known, and the tunnel is back.
func TestTheRawSocketOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	c := guarded(t, cloud.Options{Spokes: 1, Settings: func(_ string, s *cloud.Settings) {
		s.Tunnels[0].IPsec.Lines = []string{`encapsulation = "raw"`}
	}})
	without(t, c, "ESP in UDP", isESPInUDP)
	without(t, c, "ICMP by which a node does not know ESP", isProtocolUnreachable)
	ctx := t.Context()
	ping(t, c.Hosts[0], 0)
	before := rawESPSocket(t, c.Spokes[0])
	stream, err := c.HubHost.Stream(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), 4000), 200, 200)
	check(t, err)
	for name, end := range map[string]func() error{
		"killed":  func() error { return c.Kill(ctx, "spoke1") },
		"stopped": func() error { return c.Stop(ctx, "spoke1") },
	} {
		check(t, end())
		if now := rawESPSocket(t, c.Spokes[0]); now != before {
			t.Errorf("%s: the socket is %s, and was %s", name, now, before)
		}
		check(t, c.Start("spoke1"))
		check(t, c.Ready(ctx, "spoke1"))
		if now := rawESPSocket(t, c.Spokes[0]); now != before {
			t.Errorf("after it was %s: the socket is %s, and was %s", name, now, before)
		}
		until(t, c, 3*patience, func() error {
			n := stream.Received()
			time.Sleep(100 * time.Millisecond)
			if stream.Received() == n {
				return fmt.Errorf("after it was %s nothing comes", name)
			}
			return nil
		})
	}
	stream.Stop()
}
