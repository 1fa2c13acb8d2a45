// SPDX-License-Identifier: Apache-2.0

//go:build !amd64

package pump

// sumBlocks adds nothing here.
func sumBlocks(b []byte) (total uint64, rest []byte) { return 0, b }
