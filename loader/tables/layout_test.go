// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"dmvpn/bpf"
)

// TestLayoutsAreThoseOfThePrograms: our structs and those that bpf2go makes of
// structs.h have the same fields at the same places.
func TestLayoutsAreThoseOfThePrograms(t *testing.T) {
	for _, c := range []struct{ ours, theirs any }{
		{tunnelKey{}, bpf.DmvpnTunnelKey{}},
		{tunnelValue{}, bpf.DmvpnTunnel{}},
		{nbmaKey{}, bpf.DmvpnNbmaKey{}},
		{nextHopKey{}, bpf.DmvpnNexthopKey{}},
		{peerValue{}, bpf.DmvpnPeer{}},
		{statsValue{}, bpf.DmvpnPeerStats{}},
		{dropKey{}, bpf.DmvpnDropKey{}},
		{dropValue{}, bpf.DmvpnDropCount{}},
		{espLocal{}, bpf.DmvpnEspLocal{}},
	} {
		ours, theirs := fields(c.ours), fields(c.theirs)
		if ours != theirs {
			t.Errorf("%T:\n%s\nof the programs:\n%s", c.ours, ours, theirs)
		}
	}
}

// fields lists a struct: name, offset and size of each field.
func fields(v any) string {
	var b strings.Builder
	kind := reflect.TypeOf(v)
	for _, f := range reflect.VisibleFields(kind) {
		if f.Name != "_" {
			fmt.Fprintf(&b, "%s at %d, %d octets\n", strings.ToLower(f.Name), f.Offset, f.Type.Size())
		}
	}
	return b.String() + fmt.Sprint(kind.Size(), " in all")
}

// TestMapsHaveTheSizesOfTheLayouts: a map whose key or value is another struct
// would be written with the wrong octets.
func TestMapsHaveTheSizesOfTheLayouts(t *testing.T) {
	spec, err := bpf.LoadDmvpn()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]any{
		MapTunnel:  {tunnelKey{}, tunnelValue{}},
		MapDevice:  {uint32(0), tunnelValue{}},
		MapNBMA:    {nbmaKey{}, PeerID(0)},
		MapNextHop: {nextHopKey{}, PeerID(0)},
		MapPeer:    {PeerID(0), peerValue{}},
		MapStats:   {PeerID(0), statsValue{}},
		MapDrop:    {dropKey{}, dropValue{}},
		MapESP:     {address{}, espLocal{}},
		MapSPI:     {uint32(0), uint32(0)},
		MapRefused: {uint64(0), uint64(0)},
	} {
		m := spec.Maps[name]
		if m == nil {
			t.Errorf("the programs have no map %s", name)
			continue
		}
		key, value := reflect.TypeOf(want[0]).Size(), reflect.TypeOf(want[1]).Size()
		if uintptr(m.KeySize) != key || uintptr(m.ValueSize) != value {
			t.Errorf("%s: key %d, value %d octets, ours %d, %d", name, m.KeySize, m.ValueSize, key, value)
		}
	}
}

// TestDropReasonsAreThoseOfThePrograms compares numbers and names with drop.h.
func TestDropReasonsAreThoseOfThePrograms(t *testing.T) {
	header, err := os.ReadFile("../../bpf/include/drop.h")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`\bDROP_([A-Z_]+) =\s*([0-9]+)`).FindAllStringSubmatch(string(header), -1)
	if len(declared) != len(reasonNames) {
		t.Errorf("drop.h has %d reasons, we have %d", len(declared), len(reasonNames))
	}
	for i, m := range declared {
		want := strings.ToLower(strings.ReplaceAll(m[1], "_", "-"))
		if got := Reason(i).String(); m[2] != fmt.Sprint(i) || got != want {
			t.Errorf("drop.h: %s = %s; ours: %s = %d", want, m[2], got, i)
		}
	}
	if got := Reason(uint32(len(reasonNames))).String(); got != fmt.Sprint("reason-", len(reasonNames)) {
		t.Errorf("a reason of a later version is %q", got)
	}
}
