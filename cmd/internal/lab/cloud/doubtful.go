// SPDX-License-Identifier: Apache-2.0

package cloud

import "golang.org/x/net/bpf"

// Where in an Ethernet frame something stands.
const (
	atType        = 12
	atIP          = 14
	atFragment    = atIP + 6
	atProtocol    = atIP + 9
	atSource      = atIP + 12
	atDestination = atIP + 16
)

// clearPlaces are how far behind the start of what should be ESP an inner IP header would
// stand in clear: on its own, behind GRE without and with a key; the same behind SPI, sequence
// number and IV; and in tunnel mode's header with GRE.
var clearPlaces = []uint32{0, 4, 8, 16, 20, 24, 40, 44}

const (
	doubtfulLeast  = 128 // octets of ESP that all of the places are in
	doubtfulSample = 64  // one in so many is looked at whole, a power of 2
	overlayNet     = 10  // first octet of the overlay's and the LANs' addresses
	upMark         = 0xff
)

// doubtful is a classic BPF program that gives 0 for ESP, raw or from or to port 4500, that
// shows nothing of the inside, but for a sample of it, and takes everything else.
func doubtful() []bpf.Instruction {
	is := func(c bpf.JumpTest, v uint32) bpf.Instruction { return bpf.JumpIf{Cond: c, Val: v, SkipTrue: upMark} }
	p := []bpf.Instruction{
		// A load beyond the end would give 0: what is short goes up.
		bpf.LoadExtension{Num: bpf.ExtLen}, is(bpf.JumpLessThan, atIP+20),
		bpf.LoadAbsolute{Off: atType, Size: 2}, is(bpf.JumpNotEqual, 0x0800),
		bpf.LoadAbsolute{Off: atFragment, Size: 2}, is(bpf.JumpBitsSet, 0x3fff),
		bpf.LoadAbsolute{Off: atSource, Size: 1}, is(bpf.JumpEqual, overlayNet),
		bpf.LoadAbsolute{Off: atDestination, Size: 1}, is(bpf.JumpEqual, overlayNet),
		bpf.LoadMemShift{Off: atIP}, // X: where ESP begins, less atIP
		bpf.LoadAbsolute{Off: atProtocol, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolESP, SkipTrue: 8},
		is(bpf.JumpNotEqual, protocolUDP),
		bpf.LoadIndirect{Off: atIP, Size: 2}, // source port
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: portNATT, SkipTrue: 2},
		bpf.LoadIndirect{Off: atIP + 2, Size: 2}, // destination port
		is(bpf.JumpNotEqual, portNATT),
		bpf.TXA{}, bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 8}, bpf.TAX{},
		bpf.LoadExtension{Num: bpf.ExtLen}, bpf.ALUOpX{Op: bpf.ALUOpSub}, is(bpf.JumpLessThan, atIP+doubtfulLeast),
		bpf.LoadIndirect{Off: atIP, Size: 4}, is(bpf.JumpLessOrEqual, 255), // a reserved SPI, or IKE's marker
		bpf.LoadIndirect{Off: atIP + 12, Size: 4}, // the low half of the IV
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: doubtfulSample - 1}, is(bpf.JumpEqual, 0),
	}
	for _, place := range clearPlaces {
		p = append(p,
			bpf.LoadIndirect{Off: atIP + place + 12, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: overlayNet, SkipTrue: 2},
			bpf.LoadIndirect{Off: atIP + place + 16, Size: 1},
			is(bpf.JumpEqual, overlayNet))
	}
	const all = 1 << 18
	p = append(p, bpf.RetConstant{Val: 0}, bpf.RetConstant{Val: all})
	for i := range p {
		if j, ok := p[i].(bpf.JumpIf); ok && j.SkipTrue == upMark {
			j.SkipTrue = uint8(len(p) - 2 - i)
			p[i] = j
		}
	}
	return p
}
