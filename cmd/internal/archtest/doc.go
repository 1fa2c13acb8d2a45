// SPDX-License-Identifier: Apache-2.0

// Package archtest holds no program: its tests keep the shape of the tree, who
// may import whom, what stands at the top, and whose licence a file names.
package archtest
