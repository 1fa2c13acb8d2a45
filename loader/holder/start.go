// SPDX-License-Identifier: Apache-2.0

package holder

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// startTimeout is how long a new holder may take to answer.
const startTimeout = 15 * time.Second

// Start connects to the holder on the socket, and starts one first where none
// answers: argv, detached in a session of its own, which must call Serve with the
// same path. Its standard streams go to logFile, "" for nowhere. It inherits no
// descriptor, and no program that this process starts later does.
func Start(path string, argv []string, logFile string) (*Client, error) {
	if c, err := Dial(path); err == nil {
		return c, nil
	}
	out, err := openLog(logFile)
	if err != nil {
		return nil, fmt.Errorf("holder: %w", err)
	}
	defer out.Close()
	// What we inherited, a lock of whoever started us, must not live as long as it.
	const firstInherited = 3
	if err := unix.CloseRange(firstInherited, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return nil, fmt.Errorf("holder: close descriptors on exec: %w", err)
	}
	p := exec.Command(argv[0], argv[1:]...)
	p.Stdout, p.Stderr = out, out
	// A session of its own: no terminal's Ctrl-C and no hang-up reach it.
	p.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := p.Start(); err != nil {
		return nil, fmt.Errorf("holder: start %s: %w", argv[0], err)
	}
	// Reaped if it ends before us.
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }()
	deadline := time.After(startTimeout)
	for {
		c, err := Dial(path)
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ECONNREFUSED) {
			return nil, err
		}
		select {
		case err := <-ended:
			// It may have lost against another that was started together.
			if c, dialErr := Dial(path); dialErr == nil {
				return c, nil
			}
			return nil, fmt.Errorf("holder: %s ended at once: %w", argv[0], orEnded(err))
		case <-deadline:
			_ = p.Process.Kill()
			return nil, fmt.Errorf("holder: %s does not answer on %s", argv[0], path)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func orEnded(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

func openLog(path string) (*os.File, error) {
	if path == "" {
		path = os.DevNull
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}
