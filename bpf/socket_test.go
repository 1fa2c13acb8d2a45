// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"testing"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const socket place = "socket" // given to whom the socket belongs to

const takeAll = 0xffffffff

// sockets are those that ESP comes to, with the filter, at three addresses.
type sockets struct {
	*world
	udp, raw int
}

func (w *world) espSockets(t testing.TB) *sockets {
	t.Helper()
	u0, err := netlink.LinkByIndex(w.underlay)
	must(t, err)
	for _, at := range []string{localUDP, localOther} {
		a, err := netlink.ParseAddr(at + "/24")
		must(t, err)
		must(t, netlink.AddrAdd(u0, a))
	}
	open := func(kind, protocol, port int) int {
		fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
		must(t, err)
		t.Cleanup(func() { unix.Close(fd) })
		must(t, unix.Bind(fd, &unix.SockaddrInet4{Port: port}))
		must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, w.real.filter.FD()))
		return fd
	}
	return &sockets{w, open(unix.SOCK_DGRAM, unix.IPPROTO_UDP, 4500), open(unix.SOCK_RAW, unix.IPPROTO_ESP, 0)}
}

// send lets packets come in at u0, and gives what becomes of them: by the time that the one
// behind them is there.
func (s *sockets) send(t testing.TB, packets ...[]byte) result {
	t.Helper()
	last := esp(ourSPI, 13)
	for _, p := range append(packets, inUDP(local, 4500, last)) {
		must(t, write(s.wire, append(bytes.Clone(s.linkTo), p...)))
	}
	r := result{To: nowhere}
	for {
		b := read(s.udp, patience)
		if b == nil {
			t.Fatal("the last packet is not there")
		}
		if bytes.Equal(b, last) {
			break
		}
		r.take(t, socket, append(bytes.Clone(packets[0][:28]), b...), 0)
	}
	if b := read(s.raw, 0); b != nil {
		r.take(t, socket, b, 0)
	}
	s.observe(t, &r)
	return r
}

// kernelLost is what the kernel counts at a socket.
func kernelLost(t testing.TB, fd int) uint64 {
	t.Helper()
	var info [9]uint32
	size := uint32(unsafe.Sizeof(info))
	if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0); errno != 0 {
		t.Fatal(errno)
	}
	return uint64(info[8])
}

// noSum is a datagram in IPv4 without checksum.
func noSum(packet []byte) []byte { return spoil(packet, 26, 0, 27, 0) }
