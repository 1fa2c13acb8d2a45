// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

// func sumAVX2(b *byte, octets int) uint64
//
// Words of 32 bits are widened to 64 and added in four registers of four sums each: none
// overflows before 2^34 octets.
TEXT ·sumAVX2(SB), NOSPLIT, $0-24
	MOVQ b+0(FP), SI
	MOVQ octets+8(FP), CX
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3
	VPXOR Y4, Y4, Y4
	SHRQ $6, CX
	JZ   total

block:
	VMOVDQU    (SI), Y5
	VMOVDQU    32(SI), Y6
	VPUNPCKLDQ Y4, Y5, Y7
	VPUNPCKHDQ Y4, Y5, Y8
	VPUNPCKLDQ Y4, Y6, Y9
	VPUNPCKHDQ Y4, Y6, Y10
	VPADDQ     Y7, Y0, Y0
	VPADDQ     Y8, Y1, Y1
	VPADDQ     Y9, Y2, Y2
	VPADDQ     Y10, Y3, Y3
	ADDQ       $64, SI
	DECQ       CX
	JNZ        block

total:
	VPADDQ       Y1, Y0, Y0
	VPADDQ       Y3, Y2, Y2
	VPADDQ       Y2, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDQ       X1, X0, X0
	VPSRLDQ      $8, X0, X1
	VPADDQ       X1, X0, X0
	MOVQ         X0, AX
	VZEROUPPER
	MOVQ         AX, ret+16(FP)
	RET
