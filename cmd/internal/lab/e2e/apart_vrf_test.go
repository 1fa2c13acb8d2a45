// SPDX-License-Identifier: Apache-2.0

//go:build vrf

package e2e

import "testing"

// TestTwoCloudsInVRFs is TestTwoCloudsInTables by VRFs, which the kernel of make test need not have:
// make test-vm runs it.
func TestTwoCloudsInVRFs(t *testing.T) {
	modes(t, func(t *testing.T, m mode) { m.twoClouds(t, byVRFs) })
}
