// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// A mode is how the tunnels of a cloud are: what NHRP does is the same in both. Encrypted,
// every underlay wire is watched.
type mode struct{ encrypted bool }

func (m mode) String() string {
	if m.encrypted {
		return "encrypted"
	}
	return "plain"
}

// modes runs a test in both modes, at once.
func modes(t *testing.T, test func(t *testing.T, m mode)) {
	t.Helper()
	t.Parallel()
	modesAlone(t, test)
}

// modesAlone does so while no other test runs: how long something takes is what it is about, and
// those that come and go hold up the kernel's changes of routes.
func modesAlone(t *testing.T, test func(t *testing.T, m mode)) {
	t.Helper()
	for _, m := range []mode{{}, {encrypted: true}} {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			test(t, m)
		})
	}
}

// build is a cloud with no daemon running.
func (m mode) build(t *testing.T, o cloud.Options) *cloud.Cloud {
	t.Helper()
	if m.encrypted {
		return protected(t, o)
	}
	return build(t, o)
}

// up is a cloud whose spokes are registered.
func (m mode) up(t *testing.T, o cloud.Options) *cloud.Cloud {
	t.Helper()
	if m.encrypted {
		return guarded(t, o)
	}
	return up(t, o)
}

const (
	dns53    = 53
	dataSize = 1000 // octets: no message of NHRP's is as long
)

// isData says whether a frame on an underlay wire carries a packet of dataSize or more.
func (m mode) isData(f lab.Frame) bool {
	if m.encrypted {
		return isESP(f) && len(f.Data) > dataSize
	}
	return isData(f) && len(f.Data) > dataSize
}
