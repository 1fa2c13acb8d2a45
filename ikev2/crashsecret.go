// SPDX-License-Identifier: Apache-2.0

package ikev2

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"dmvpn/ikev2/crypto"
)

// crashSecretSize is in octets.
const crashSecretSize = 32

// CrashSecret gives the secret that the tokens of quick crash detection are made
// with (RFC 6290): the same after every restart, so that peers believe us when we
// say that we know nothing of their IKE SA any more. A file that is not there is
// made, readable by its owner alone; one that will not do is made anew, and err
// says why. The secret is good in every case.
func CrashSecret(path string) (secret crypto.Secret, err error) {
	raw, err := readSecret("crash secret", path)
	switch {
	case err == nil && len(raw) == crashSecretSize:
		return raw, nil
	case err == nil:
		err = fmt.Errorf("ike: crash secret %s has %d octets, not %d", path, len(raw), crashSecretSize)
		clear(raw)
	case errors.Is(err, os.ErrNotExist):
		err = nil
	}
	secret = make(crypto.Secret, crashSecretSize)
	_, _ = rand.Read(secret) // it never fails: crypto/rand ends the program instead
	return secret, errors.Join(err, replaceSecret(path, secret))
}

// replaceSecret writes a file of mode 0600 in one step.
func replaceSecret(path string, content []byte) error {
	beside := path + ".new"
	// One that a killed process left may have another mode.
	if err := os.Remove(beside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("ike: crash secret: %w", err)
	}
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("ike: crash secret: %w", err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(beside, path)
	}
	if err != nil {
		return fmt.Errorf("ike: crash secret: %w", errors.Join(err, os.Remove(beside)))
	}
	return nil
}
