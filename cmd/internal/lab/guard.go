// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// The labs of this process, to be closed when it is told to end.
var guarded struct {
	sync.Mutex
	labs    map[*Lab]bool
	signals chan os.Signal
}

var interrupted = make(chan struct{})

// Interrupted is closed when a signal has told this process to end. What fails
// after that fails because its lab is being removed: the caller waits for the
// end of the process instead of reporting it.
func Interrupted() <-chan struct{} { return interrupted }

func guard(l *Lab) {
	guarded.Lock()
	defer guarded.Unlock()
	if guarded.labs == nil {
		guarded.labs = map[*Lab]bool{}
		guarded.signals = make(chan os.Signal, 1)
		signal.Notify(guarded.signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		go func() { closeAll(<-guarded.signals) }()
	}
	guarded.labs[l] = true
}

func unguard(l *Lab) {
	guarded.Lock()
	defer guarded.Unlock()
	delete(guarded.labs, l)
}

// closeAll removes the labs and ends the process with the shell's status for
// the signal. A second Ctrl-C does not interrupt it.
func closeAll(s os.Signal) {
	close(interrupted)
	fmt.Fprintf(os.Stderr, "\n%v: cleaning up\n", s)
	guarded.Lock()
	var labs []*Lab
	for l := range guarded.labs {
		labs = append(labs, l)
	}
	guarded.Unlock()
	for _, l := range labs {
		if err := l.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	status := 1
	if n, ok := s.(syscall.Signal); ok {
		status = 128 + int(n)
	}
	os.Exit(status)
}
