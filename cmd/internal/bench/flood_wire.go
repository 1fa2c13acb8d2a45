// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"dmvpn/cmd/internal/lab"
)

// generate lets so many packets come in at b, at the rate or below.
func (a *arena) generate(f *flood, g *generator, n int) error {
	begin := time.Now()
	for sent := 0; sent < n; sent += floodChunk {
		if err := g.send(a.device, floodChunk); err != nil {
			return err
		}
		if g == f.bogus {
			f.sent += floodChunk
		}
		time.Sleep(time.Until(due(begin, sent+floodChunk)))
	}
	return nil
}

// A merger sends a burst of a flood as one buffer that the kernel does not cut before the
// wire, as it arrives where a device has merged it; with UDP checksums.
type merger struct {
	conn  *net.UDPConn
	burst []byte
}

func (a *arena) newMerger(f *flood) (*merger, error) {
	m := &merger{}
	for _, frame := range f.frames {
		m.burst = append(m.burst, lab.ESPOf(frame)...)
	}
	err := a.course.a.Do(func() (err error) {
		m.conn, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(gatewayB), 4500)))
		return err
	})
	if err != nil {
		return nil, err
	}
	raw, err := m.conn.SyscallConn()
	if err == nil {
		var set error
		err = raw.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, len(m.burst)/floodBurst)
		})
		err = errors.Join(err, set)
	}
	if err != nil {
		return nil, errors.Join(err, m.conn.Close())
	}
	return m, nil
}

func (m *merger) send() error {
	_, err := m.conn.Write(m.burst)
	return err
}

// merged sends so many packets at the rate.
func (a *arena) merged(f *flood, n int) error {
	m, err := a.newMerger(f)
	if err != nil {
		return err
	}
	defer m.conn.Close()
	begin := time.Now()
	for sent := 0; sent < n; sent += floodBurst {
		if err := m.send(); err != nil {
			return err
		}
		f.sent += floodBurst
		time.Sleep(time.Until(due(begin, sent+floodBurst)))
	}
	return nil
}

// overTheWire sends packets from the other end's gateway at the rate, until it is told to
// stop.
func (a *arena) overTheWire(f *flood, elsewhere bool, stop <-chan struct{}) error {
	i, err := a.course.a.Inject("wan0")
	if err != nil {
		return err
	}
	defer i.Close()
	frames := f.frames
	if elsewhere {
		frames = nil
		for _, frame := range f.frames {
			frame = slices.Clone(frame)
			copy(frame, []byte{2, 0, 0, 0, 0, 99})
			frames = append(frames, frame)
		}
	}
	send := func() error { return i.Send(frames...) }
	if f.merges && !elsewhere {
		m, err := a.newMerger(f)
		if err != nil {
			return err
		}
		defer m.conn.Close()
		send = m.send
	}
	begin := time.Now()
	for sent := 0; ; sent += floodBurst {
		select {
		case <-stop:
			if !elsewhere {
				a.reached = append(a.reached, float64(sent)/time.Since(begin).Seconds())
			}
			return nil
		default:
		}
		if err := send(); err != nil {
			return err
		}
		if !elsewhere {
			f.sent += floodBurst
		}
		time.Sleep(time.Until(due(begin, sent+floodBurst)))
	}
}

// due is when so many packets should have come.
func due(begin time.Time, packets int) time.Time {
	return begin.Add(time.Duration(packets) * time.Second / floodRate)
}
