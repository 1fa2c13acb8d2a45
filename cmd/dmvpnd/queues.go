// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"dmvpn/cmd/internal/config"
	"dmvpn/cmd/internal/control"
	"dmvpn/loader/kernel"
	"dmvpn/loader/pump"
)

// queues are those of a tunnel's device, with a worker each. The holder has them too, so that
// what waits in them is not lost with the daemon.
type queues struct {
	want int // so many there are to be
	held int // so many the daemon before had; 0: nothing waits

	mu     sync.Mutex
	device *kernel.Device
	all    []*pump.Queue // of device.Queues
}

// queueDrain is how long a queue is read on that no packets are put into any more: who chose it
// a moment ago may still be about to.
const queueDrain = time.Second

// queueName is the name of a device's queue in the holder.
func queueName(device string, n int) string {
	if n == 0 {
		return "tun/" + device
	}
	return fmt.Sprintf("tun/%s/%d", device, n)
}

// heldQueues gives the queues of a device that the holder kept.
func (d *daemon) heldQueues(device string) (held []*os.File) {
	for {
		f, err := d.holder.Get(queueName(device, len(held)))
		if err != nil {
			return held
		}
		held = append(held, f)
	}
}

// dropQueues makes the holder forget a device's queues from the nth on, the last one first: what
// is left counts from 0.
func (d *daemon) dropQueues(device string, n int) error {
	names, err := d.holder.List()
	for i := config.MaxQueues - 1; i >= n; i-- {
		if name := queueName(device, i); slices.Contains(names, name) {
			err = errors.Join(err, d.holder.Drop(name))
		}
	}
	return err
}

// openQueues opens those that are missing. The ones that were held go on as before, for now: what
// waits in them comes first (settle).
func (t *tunnel) openQueues() error {
	q, d := &t.queues, t.daemon
	spread := q.held
	if spread == 0 {
		spread = q.want
	}
	t.steer(spread)
	for len(q.device.Queues) < q.want {
		if _, err := q.device.OpenQueue(); err != nil {
			return err
		}
	}
	for _, f := range q.device.Queues {
		q.all = append(q.all, pump.NewQueue(f))
	}
	return q.hold(d)
}

// hold gives the queues to the holder.
func (q *queues) hold(d *daemon) (err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for n, f := range q.device.Queues {
		err = errors.Join(err, d.holder.Put(queueName(q.device.Name, n), f))
	}
	return err
}

// steer makes packets wait in the first n queues, those of a peer in one; false: they wait in
// any, by flow.
func (t *tunnel) steer(n int) bool {
	err := t.daemon.plane.Steer(t.queues.device.Queues[0], n)
	if err == nil {
		t.problem("queues", "")
		return true
	}
	t.problem("queues", fmt.Sprintf("%v: packets wait where the kernel puts them, by flow; queues = 1 in [daemon] does without", err))
	return false
}

// settle goes over to as many queues as there are to be, when what waited for the daemon is
// gone: the packets of a flow keep their order, unless their queue is never empty before.
func (t *tunnel) settle() {
	q := &t.queues
	if q.held == 0 || q.held == q.want {
		return
	}
	for _, held := range q.all[:q.held] {
		select {
		case <-held.Empty():
		case <-t.done:
			return
		}
	}
	if !t.steer(q.want) {
		return // packets may wait in any of them
	}
	if q.held > q.want {
		select {
		case <-time.After(queueDrain):
		case <-t.done:
			return
		}
		t.daemon.quietly("close a queue", t.closeQueues())
	}
	t.log.Info().Int("before", q.held).Int("now", q.want).Msg("queues of the device")
}

// closeQueues closes those that nothing is put into any more.
func (t *tunnel) closeQueues() (err error) {
	q := &t.queues
	q.mu.Lock()
	defer q.mu.Unlock()
	err = t.daemon.dropQueues(t.config.Name, q.want)
	for len(q.device.Queues) > q.want {
		err = errors.Join(err, q.device.CloseQueue())
	}
	return err
}

// stop ends the reading. The queues stay open: the holder has them too.
func (q *queues) stop() (err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, f := range q.device.Queues {
		err = errors.Join(err, f.SetReadDeadline(time.Unix(1, 0)))
	}
	return err
}

// status gives what went through each.
func (q *queues) status() []control.Queue {
	q.mu.Lock()
	defer q.mu.Unlock()
	var all []control.Queue
	for n := range q.device.Queues {
		read, written := q.all[n].Counters()
		all = append(all, control.Queue{Sent: read, Received: written})
	}
	return all
}

// names are the holder's for the queues.
func (q *queues) names() (all []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for n := range q.device.Queues {
		all = append(all, queueName(q.device.Name, n))
	}
	return all
}
