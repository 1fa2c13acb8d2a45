// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

var underlayGroups = []uint{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR}

// EventKind says what happened to an underlay.
type EventKind uint8

// What can happen to an underlay.
const (
	AddressChanged EventKind = iota + 1 // another one, the first one, or gone: Now.Address, Now.Address6
	DeviceGone
	DeviceCame // Now.Index is another one
	DeviceDown
	DeviceUp
	MTUChanged
)

var eventNames = [...]string{"", "address changed", "device gone", "device came", "device down", "device up", "MTU changed"}

func (k EventKind) String() string { return eventNames[k] }

// Event is one change of an underlay.
type Event struct {
	Kind        EventKind
	Before, Now Underlay
}

// Watcher follows one underlay.
type Watcher struct {
	host   *Host
	spec   UnderlaySpec
	now    Underlay
	follow *follower
	events chan Event
	stop   chan struct{}
	once   sync.Once
}

// Watch follows the underlay until Close, from the state that is handed in: what
// changed since it was resolved is reported first. Changes that undo each other
// before they are looked at are not seen.
func (h *Host) Watch(spec UnderlaySpec, from Underlay) (*Watcher, error) {
	w := &Watcher{host: h, spec: spec, now: from, events: make(chan Event), stop: make(chan struct{})}
	ready := make(chan struct{})
	var err error
	if w.follow, err = h.follow(underlayGroups, ready, w.handle); err != nil {
		return nil, err
	}
	// The first look is the goroutine's too: it alone sends.
	go func() {
		w.look()
		close(ready)
	}()
	return w, nil
}

// handle looks at the device again whatever the messages say: they tell when,
// the kernel tells what.
func (w *Watcher) handle(_ []syscall.NetlinkMessage, _ error) { w.look() }

func (w *Watcher) look() {
	now, err := w.host.resolve(w.spec)
	if err != nil && !errors.Is(err, ErrNoDevice) && !errors.Is(err, ErrNoAddress) {
		return // in between two states; another message follows
	}
	before := w.now
	w.now = now
	for _, kind := range changes(before, now) {
		select {
		case w.events <- Event{kind, before, now}:
		case <-w.stop:
			return
		}
	}
}

// changes names what is different, the device before what is on it.
func changes(before, now Underlay) (kinds []EventKind) {
	switch {
	case before.Index != now.Index && now.Index == 0:
		return append(kinds, DeviceGone)
	case before.Index != now.Index:
		kinds = append(kinds, DeviceCame)
	}
	if before.Up != now.Up && before.Index != 0 {
		if now.Up {
			kinds = append(kinds, DeviceUp)
		} else {
			kinds = append(kinds, DeviceDown)
		}
	}
	if before.Address != now.Address || before.Address6 != now.Address6 {
		kinds = append(kinds, AddressChanged)
	}
	if before.MTU != now.MTU && before.Index == now.Index {
		kinds = append(kinds, MTUChanged)
	}
	return kinds
}

// Events gives the changes in order. It is closed after Close.
func (w *Watcher) Events() <-chan Event { return w.events }

// Close ends the following and waits for it.
func (w *Watcher) Close() {
	w.once.Do(func() {
		close(w.stop)
		w.follow.close()
		close(w.events)
	})
}
