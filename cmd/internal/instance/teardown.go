// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"dmvpn/loader"
	"dmvpn/loader/holder"
)

// Teardown removes what an instance has in the kernel, and ends its holder:
// programs, pins, tunnel devices with their addresses and routes. The caller
// holds the lock. What is not there is no error.
func Teardown(p Paths, o loader.Options) error {
	err := loader.Teardown(o)
	return errors.Join(err, endHolder(p))
}

func endHolder(p Paths) error {
	c, err := holder.Dial(p.Holder)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("end the holder: %w", err)
	}
	if err := c.Stop(); err != nil {
		return fmt.Errorf("end the holder: %w", err)
	}
	return nil
}
