// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestMappedPeersNeedNoHub: two spokes that map each other talk before there is a hub, and
// go on when there is one and when it is gone again.
func TestMappedPeersNeedNoHub(t *testing.T) { modes(t, mappedPeersNeedNoHub) }

func mappedPeersNeedNoHub(t *testing.T, m mode) {
	c := m.build(t, cloud.Options{Spokes: 2, Settings: func(node string, s *cloud.Settings) {
		other := map[string]int{"spoke1": 2, "spoke2": 1}[node]
		if other == 0 {
			return
		}
		u := &s.Tunnels[0]
		u.Lines = append(u.Lines, fmt.Sprintf("[[tunnel.%s.map]]\nprotocol = %q\nnbma = %q", u.Name, cloud.TunnelAddress(other), cloud.NBMA(other)))
	}})
	for n := 1; n <= 2; n++ {
		spoke := fmt.Sprint("spoke", n)
		check(t, c.Start(spoke))
		check(t, c.Ready(t.Context(), spoke))
	}
	direct := func() {
		t.Helper()
		for n := 1; n <= 2; n++ {
			until(t, c, patience, func() error {
				_, err := c.Spokes[n-1].Ping(cloud.TunnelAddress(3-n), 0, time.Second)
				return err
			})
		}
	}
	direct()
	out, err := c.Dmvpn(t.Context(), "spoke1", "nhrp")
	check(t, err)
	if !strings.Contains(out, cloud.TunnelAddress(2).String()) || !strings.Contains(out, "static") {
		t.Errorf("dmvpn nhrp lacks the peer that is mapped:\n%s", out)
	}
	check(t, c.Start("hub"))
	until(t, c, patience, func() error { return c.AllRegistered(t.Context()) })
	direct()
	check(t, c.Stop(t.Context(), "hub"))
	direct()
}
