// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// except is a socket's filter that takes every frame but those with UDP from or to a port;
// a fragment that is not the first has no ports, and is taken.
func except(port uint16) ([]unix.SockFilter, error) {
	const (
		ethernet                      = 14
		kind, protocol, offset        = 12, ethernet + 9, ethernet + 6
		source, destination           = ethernet, ethernet + 2 // behind the IP header
		ipv4, udp              uint32 = 0x0800, 17
		whole                         = 1 << 18
	)
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: kind, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: ipv4, SkipTrue: 9},
		bpf.LoadAbsolute{Off: protocol, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: udp, SkipTrue: 7},
		bpf.LoadAbsolute{Off: offset, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 5},
		bpf.LoadMemShift{Off: ethernet},
		bpf.LoadIndirect{Off: source, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(port), SkipTrue: 3},
		bpf.LoadIndirect{Off: destination, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(port), SkipTrue: 1},
		bpf.RetConstant{Val: whole},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return nil, err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return filter, nil
}
