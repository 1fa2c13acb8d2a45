// SPDX-License-Identifier: Apache-2.0

package config

import "math"

// The tables that the kernel has for itself (rtnetlink).
const (
	tableDefault = 253
	tableLocal   = 255
)

// apart reads what keeps what is inside a tunnel apart from the rest: a VRF, or a table.
func (t *table) apart() (vrf string, number int) {
	const remedy = "write the name of a VRF device, or leave it out"
	if vrf = t.text("vrf", remedy); vrf != "" && !deviceName(vrf) {
		t.doc.failValue(join(t.path, "vrf"), "it cannot name a device", remedy)
	}
	if n, ok := t.number("table", 1, math.MaxInt32); ok {
		number = int(n)
	}
	path := join(t.path, "table")
	switch {
	case number >= tableDefault && number <= tableLocal:
		t.doc.failValue(path, "it is a table that all of the machine shares", "write another number, or leave it out")
	case number != 0 && vrf != "":
		t.doc.failValue(path, "the VRF has its own", "leave one of the two out")
	}
	return vrf, number
}

// Apart says whether two tunnels do not see each other's routes: what is inside of them may overlap.
func (t *Tunnel) Apart(other *Tunnel) bool { return t.VRF != other.VRF || t.Table != other.Table }
