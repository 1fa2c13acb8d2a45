// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Octets of a frame that a capture can hold: a GSO packet has up to 64 KiB.
const captureFrame = 1<<16 + 256

// A Frame was seen on a device of a node.
type Frame struct {
	At       time.Time
	Outgoing bool // the node sent it
	Data     []byte
}

// A Capture listens on a device, as tcpdump does.
type Capture struct {
	file *os.File
	done chan struct{}

	mu     sync.Mutex
	frames []Frame
	read   uint64 // frames that keep was asked about

	asking           sync.Mutex // the kernel counts from one asking to the next
	arrived, dropped uint64
}

// Capture starts to keep the frames of a device for which keep is true (nil:
// all). Frames of a device without Ethernet, as the tunnel is, begin with the IP
// header.
func (n *Node) Capture(device string, keep func(Frame) bool) (*Capture, error) {
	return n.capture(device, nil, keep)
}

// CaptureOnly is Capture of the frames for which a classic BPF program gives other than 0:
// the kernel leaves the others out, so that they may be a lot.
func (n *Node) CaptureOnly(device string, program []bpf.Instruction, keep func(Frame) bool) (*Capture, error) {
	filter, err := assemble(program)
	if err != nil {
		return nil, fmt.Errorf("node %s: capture on %s: %w", n.Name, device, err)
	}
	return n.capture(device, filter, keep)
}

func (n *Node) capture(device string, filter []unix.SockFilter, keep func(Frame) bool) (*Capture, error) {
	c := &Capture{done: make(chan struct{})}
	fd := -1
	err := n.Do(func() (err error) {
		link, err := n.Net.LinkByName(device)
		if err != nil {
			return err
		}
		all := htons(unix.ETH_P_ALL)
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(all))
		if err != nil {
			return err
		}
		if len(filter) > 0 {
			program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
			if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
				return err
			}
		}
		// Room for a burst: 2 busy CPUs may leave the reader waiting.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Attrs().Index})
	})
	if err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return nil, fmt.Errorf("node %s: capture on %s: %w", n.Name, device, err)
	}
	c.file = os.NewFile(uintptr(fd), "capture "+device)
	go c.run(keep)
	return c, nil
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

func (c *Capture) run(keep func(Frame) bool) {
	defer close(c.done)
	raw, err := c.file.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, captureFrame)
	for {
		var n int
		var from unix.Sockaddr
		var received error
		err := raw.Read(func(fd uintptr) bool {
			n, from, received = unix.Recvfrom(int(fd), buf, 0)
			return received != unix.EAGAIN
		})
		if err != nil {
			return // closed
		}
		if received != nil {
			time.Sleep(time.Millisecond) // the device is down
			continue
		}
		f := Frame{At: time.Now(), Data: buf[:n]}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok {
			f.Outgoing = ll.Pkttype == unix.PACKET_OUTGOING
		}
		kept := keep == nil || keep(f)
		c.mu.Lock()
		if c.read++; kept {
			f.Data = append([]byte(nil), f.Data...)
			c.frames = append(c.frames, f)
		}
		c.mu.Unlock()
	}
}

// Frames gives what was kept so far.
func (c *Capture) Frames() []Frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Frame(nil), c.frames...)
}

// Settle waits until every frame that has come so far was looked at, and gives how many
// could not be, for lack of room. It is for a capture that is not closed.
func (c *Capture) Settle(patience time.Duration) (missed uint64, err error) {
	arrived, missed, err := c.statistics()
	if err != nil {
		return missed, err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		read := c.read
		c.mu.Unlock()
		if read+missed >= arrived {
			return missed, nil
		}
		if time.Now().After(deadline) {
			return missed, fmt.Errorf("%s: %d of %d frames are not looked at after %v", c.file.Name(), arrived-missed-read, arrived, patience)
		}
	}
}

// statistics gives how many frames have come since the start, those included that were
// dropped.
func (c *Capture) statistics() (arrived, dropped uint64, err error) {
	c.asking.Lock()
	defer c.asking.Unlock()
	raw, err := c.file.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var stats *unix.TpacketStats
	var failed error
	if err := raw.Control(func(fd uintptr) {
		stats, failed = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	}); err != nil {
		return 0, 0, err
	}
	if failed != nil {
		return 0, 0, fmt.Errorf("%s: statistics: %w", c.file.Name(), failed)
	}
	c.arrived, c.dropped = c.arrived+uint64(stats.Packets), c.dropped+uint64(stats.Drops)
	return c.arrived, c.dropped, nil
}

// Close ends the capture and gives what was kept.
func (c *Capture) Close() []Frame {
	c.file.Close()
	<-c.done
	return c.Frames()
}

// GRE says whether an Ethernet frame carries IP with GRE, and between which
// addresses.
func GRE(frame []byte) (source, destination net.IP, ok bool) {
	const ethernet, ipv4, ipv6 = 14, 20, 40
	if len(frame) >= ethernet+ipv6 && frame[12] == 0x86 && frame[13] == 0xdd && frame[ethernet+6] == unix.IPPROTO_GRE {
		ip := frame[ethernet:]
		return net.IP(ip[8:24]), net.IP(ip[24:40]), true
	}
	if len(frame) < ethernet+ipv4 || frame[12] != 0x08 || frame[13] != 0x00 || frame[ethernet+9] != unix.IPPROTO_GRE {
		return nil, nil, false
	}
	ip := frame[ethernet:]
	return net.IP(ip[12:16]), net.IP(ip[16:20]), true
}
