// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// followBuffer holds what comes while we list, in octets.
const followBuffer = 4 << 20

// errOverrun says that messages were lost: what is known must be read again.
var errOverrun = errors.New("kernel: netlink socket overran")

// follower receives the kernel's notifications on a goroutine of its own.
type follower struct {
	socket *nl.NetlinkSocket
	done   sync.WaitGroup
}

// follow subscribes to the groups and hands each batch of messages to handle,
// with errOverrun after a loss. It returns when the subscription stands, so
// that what is listed after it misses nothing; handle runs only after ready is
// closed.
func (h *Host) follow(groups []uint, ready <-chan struct{}, handle func([]syscall.NetlinkMessage, error)) (*follower, error) {
	socket, err := h.subscribe(groups)
	if err != nil {
		return nil, fmt.Errorf("kernel: subscribe to netlink: %w", err)
	}
	// Without CAP_NET_ADMIN the force fails and the smaller buffer overruns more.
	if socket.SetReceiveBufferSize(followBuffer, true) != nil {
		_ = socket.SetReceiveBufferSize(followBuffer, false)
	}
	f := &follower{socket: socket}
	f.done.Go(func() {
		<-ready
		for {
			messages, from, err := socket.Receive()
			switch {
			case errors.Is(err, unix.ENOBUFS):
				handle(nil, errOverrun)
			case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			case err != nil:
				return // closed
			case from.Pid == nl.PidKernel:
				handle(messages, nil)
			}
		}
	})
	return f, nil
}

// subscribe avoids setns, which needs CAP_SYS_ADMIN, where the thread is in the
// namespace already.
func (h *Host) subscribe(groups []uint) (*nl.NetlinkSocket, error) {
	if here, err := netns.Get(); err == nil {
		same := here.Equal(h.ns)
		_ = here.Close()
		if same {
			return nl.Subscribe(unix.NETLINK_ROUTE, groups...)
		}
	}
	return nl.SubscribeAt(h.ns, netns.None(), unix.NETLINK_ROUTE, groups...)
}

// close ends the goroutine and waits for it. ready must be closed.
func (f *follower) close() {
	f.socket.Close()
	f.done.Wait()
}
