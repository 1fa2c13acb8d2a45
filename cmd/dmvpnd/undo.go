// SPDX-License-Identifier: Apache-2.0

package main

// undo is what a start that fails takes back, the last first.
type undo []func()

func (u *undo) push(f func()) { *u = append(*u, f) }

func (u *undo) run() {
	for i := len(*u) - 1; i >= 0; i-- {
		(*u)[i]()
	}
	*u = nil
}
