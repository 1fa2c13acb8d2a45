// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"
)

// seeds are the captured packets, ours, and the extremes.
func seeds(f *testing.F) [][]byte {
	f.Helper()
	var all [][]byte
	for _, c := range captures(f) {
		all = append(all, c.nhrp)
	}
	for _, kind := range everyType {
		all = append(all, marshal(f, bare(kind)))
	}
	zeros, ones := make([]byte, 0xFFFF), bytes.Repeat([]byte{0xFF}, 0xFFFF)
	return append(all, marshal(f, registration(f)), nil, zeros[:1], ones[:1], zeros, ones)
}

// SE-08: the decoder never panics, and encode(decode(x)) = x for what it
// accepts. The input is tried as it is, and with its size and checksum put
// right, since the fuzzer would rarely find them.
func FuzzDecode(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		decodeAndBack(t, b)
		if len(b) >= fixedSize && len(b) <= maxPacket {
			decodeAndBack(t, seal(bytes.Clone(b)))
		}
	})
}

func decodeAndBack(t *testing.T, b []byte) {
	p, err := Decode(b)
	if err != nil {
		checkFault(t, err, len(b))
		return
	}
	size := int(binary.BigEndian.Uint16(b[offSize:]))
	out, err := p.Marshal()
	if err != nil {
		t.Fatalf("%x is decoded as %+v, which is not encoded: %v", b, p, err)
	}
	want := bytes.Clone(b[:size])
	if binary.BigEndian.Uint16(want[offChecksum:]) == 0xFFFF {
		want[offChecksum], want[offChecksum+1] = 0, 0 // the same sum
	}
	if !bytes.Equal(out, want) || p.Size() != size {
		t.Fatalf("%x is encoded as\n%x", want, out)
	}
	fmt.Fprintf(io.Discard, "%v %+v", p, p)
	for i := range p.CIEs {
		if at := p.CIEOffset(i); out[at] != byte(p.CIEs[i].Code) {
			t.Fatalf("entry %d is not at %d", i, at)
		}
	}
	for i := range p.Extensions {
		if at := p.ExtensionOffset(i); ExtensionType(binary.BigEndian.Uint16(out[at:])&typeMask) != p.Extensions[i].Type {
			t.Fatalf("extension %d is not at %d", i, at)
		}
		p.Extensions[i].ForClient()
	}
	if again, err := p.Marshal(); err != nil || len(again) > len(out) {
		t.Fatalf("for a client %d octets become %d: %v", len(out), len(again), err)
	}
}

func checkFault(t *testing.T, err error, length int) {
	var fault *DecodeError
	if !errors.As(err, &fault) {
		t.Fatalf("an error of another type: %v", err)
	}
	if fault.Code == 0 || fault.Offset < 0 || fault.Offset > max(length, fixedSize) || errors.Unwrap(err) == nil {
		t.Fatalf("%d octets: %v", length, err)
	}
	if fault.Packet != nil {
		fmt.Fprintf(io.Discard, "%v %+v", fault.Packet, fault.Packet)
	}
}

// FuzzExtension reads any value as each kind of extension, in each pair of
// families, and builds what it read again.
func FuzzExtension(f *testing.F) {
	for _, c := range captures(f) {
		p, err := Decode(c.nhrp)
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range p.Extensions {
			f.Add(uint16(e.Type), false, false, e.Value)
		}
	}
	f.Add(uint16(ExtensionVendorPrivate), false, false, goldenPrivate(f))
	f.Add(uint16(0x3801), true, true, []byte{1})
	f.Fuzz(func(t *testing.T, kind uint16, nbma6, protocol6 bool, value []byte) {
		p := &Packet{AddressFamily: FamilyIPv4, ProtocolType: ProtocolIPv4}
		if nbma6 {
			p.AddressFamily = FamilyIPv6
		}
		if protocol6 {
			p.ProtocolType = ProtocolIPv6
		}
		e := Extension{Type: ExtensionType(kind), Value: value}
		fmt.Fprintf(io.Discard, "%v %s", e, p.describe(&e))
		if entries, err := p.Entries(&e); err != nil {
			checkFault(t, err, len(value))
		} else if again, err := p.NewEntries(e.Type, entries...); len(value) <= maxPacket && (err != nil || !bytes.Equal(again.Value, value)) {
			t.Fatalf("%x becomes %x: %v", value, again.Value, err)
		}
		if a, err := e.Authentication(); err != nil {
			checkFault(t, err, len(value))
		} else {
			a.CiscoSecret("test1234")
		}
		if v, err := e.Vendor(); err != nil {
			checkFault(t, err, len(value))
		} else if again := NewVendor(v); !bytes.Equal(again.Value, value) {
			t.Fatalf("%x becomes %x", value, again.Value)
		}
		own, err := e.Private()
		if err != nil {
			checkFault(t, err, len(value))
			return
		}
		again, err := NewPrivate(own)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := again.Private(); err != nil || back != own {
			t.Fatalf("%+v comes back as %+v: %v", own, back, err)
		}
	})
}
