// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Kernel interface: BPF_F_TEST_XDP_LIVE_FRAMES and the verdicts of XDP.
const (
	liveFrames = 1 << 1
	xdpDrop    = 1
	xdpPass    = 2
)

// A generator makes packets inside the kernel, where they come in by a device
// as if its driver had received them: an XDP program in live frame mode. So the
// cost of making them is small, and everything behind them, up to the next wire,
// runs in the system call that asked for them.
type generator struct {
	program *ebpf.Program
	frame   frame
	// again is how many packets at most have come more than once: a signal breaks the
	// call off, which then begins anew.
	again uint64
}

// newGenerator makes a generator for one frame; with xdpDrop what it makes goes
// nowhere, which measures the generator itself. Peers is out of how many each
// packet draws one.
func newGenerator(f frame, peers int, verdict int32) (*generator, error) {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "bench_generator", Type: ebpf.XDP, License: "Dual BSD/GPL",
		Instructions: instructions(f, peers, verdict),
	})
	if err != nil {
		return nil, fmt.Errorf("load the packet generator: %w", err)
	}
	return &generator{program: program, frame: f}, nil
}

func (g *generator) close() { g.program.Close() }

// xdpMD is the kernel's struct xdp_md.
type xdpMD struct {
	Data, DataEnd, DataMeta, IngressIfindex, RxQueueIndex, EgressIfindex uint32
}

// send lets so many packets come in by the device. The calling thread must be in
// the device's namespace.
func (g *generator) send(ifindex, packets int) error {
	_, err := g.program.Run(&ebpf.RunOptions{
		//lint:ignore SA1019 nothing else tells that the packets were sent again, after a signal
		Reset: func() { g.again += uint64(packets) },
		Data:  g.frame.data, Repeat: uint32(packets), Flags: liveFrames,
		Context: xdpMD{DataEnd: uint32(len(g.frame.data)), IngressIfindex: uint32(ifindex)},
	})
	if err != nil {
		return fmt.Errorf("generate %d packets: %w", packets, err)
	}
	return nil
}

// instructions writes the program: draw a peer, write the headers of the
// template, put in the peer's addresses, and complete the checksums. The
// pages of live frames are used again, so that all that forwarding may have
// changed is written every time.
func instructions(f frame, peers int, verdict int32) asm.Instructions {
	const (
		context = asm.R6
		peer    = asm.R7
		data    = asm.R2
		sum     = asm.R1
		scratch = asm.R5
	)
	headers := f.headers()
	p := asm.Instructions{
		asm.Mov.Reg(context, asm.R1),
		asm.FnGetPrandomU32.Call(),
		asm.Mov.Reg32(peer, asm.R0),
		asm.Mod.Imm32(peer, int32(peers)),
		asm.LoadMem(data, context, 0, asm.Word),
		asm.LoadMem(asm.R3, context, 4, asm.Word),
		asm.Mov.Reg(asm.R4, data),
		asm.Add.Imm(asm.R4, int32(headers)),
		asm.JGT.Reg(asm.R4, asm.R3, "short"),
	}
	at := 0
	for ; at+4 <= headers; at += 4 {
		p = append(p, asm.StoreImm(data, int16(at), int64(int32(binary.NativeEndian.Uint32(f.data[at:]))), asm.Word))
	}
	for ; at+2 <= headers; at += 2 {
		p = append(p, asm.StoreImm(data, int16(at), int64(binary.NativeEndian.Uint16(f.data[at:])), asm.Half))
	}
	for _, header := range f.ipHeaders() {
		p = append(p, asm.Mov.Imm(sum, wordSum(f.data[header:header+ipv4Length])))
		for _, field := range f.fields {
			if field.header != header {
				continue
			}
			at := int16(header + field.at)
			// The second octet, then the third: a word of the checksum each.
			p = append(p, asm.Mov.Reg(scratch, peer))
			if field.partner {
				p = append(p, asm.Xor.Imm(scratch, 1))
			}
			p = append(p,
				asm.RSh.Imm(scratch, 8), asm.Add.Imm(scratch, int32(field.pattern.b)),
				asm.StoreMem(data, at+1, scratch, asm.Byte))
			p = append(p, addOctet(sum, scratch, second)...)
			p = append(p, asm.Mov.Reg(scratch, peer))
			if field.partner {
				p = append(p, asm.Xor.Imm(scratch, 1))
			}
			p = append(p, asm.And.Imm(scratch, 255), asm.StoreMem(data, at+2, scratch, asm.Byte))
			p = append(p, addOctet(sum, scratch, first)...)
		}
		for range 2 {
			p = append(p, asm.Mov.Reg(scratch, sum), asm.RSh.Imm(scratch, 16), asm.And.Imm(sum, 0xffff), asm.Add.Reg(sum, scratch))
		}
		p = append(p, asm.Xor.Imm(sum, 0xffff), asm.StoreMem(data, int16(header+10), sum, asm.Half))
	}
	return append(p,
		asm.Mov.Imm(asm.R0, verdict),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("short"),
		asm.Return(),
	)
}

// Which octet of a 16-bit word one is, in the order of the wire.
const (
	first = iota
	second
)

// addOctet adds an octet to a sum of words that are read in the machine's order.
func addOctet(sum, octet asm.Register, which int) asm.Instructions {
	high := first
	if binary.NativeEndian.Uint16([]byte{0, 1}) != 1 {
		high = second
	}
	if which != high {
		return asm.Instructions{asm.Add.Reg(sum, octet)}
	}
	return asm.Instructions{asm.LSh.Imm(octet, 8), asm.Add.Reg(sum, octet)}
}

// wordSum adds the 16-bit words of a header in the machine's order, RFC 1071.
func wordSum(header []byte) int32 {
	var sum int32
	for ; len(header) >= 2; header = header[2:] {
		sum += int32(binary.NativeEndian.Uint16(header))
	}
	return sum
}
