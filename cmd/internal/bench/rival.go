// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"dmvpn/cmd/internal/lab"
)

// A rival is a program that makes an encrypted tunnel in user space.
type rival interface {
	// start runs it in both gateways; the tunnel works some time after.
	start(ctx context.Context) error
	// device is its tunnel device, in both gateways.
	device() string
	// received is how many octets the gateway b has taken out of the tunnel, as the
	// program itself counts them.
	received(ctx context.Context) (uint64, error)
	// processes are those that make up the tunnel, at both ends.
	processes() []*lab.Process
}

// rivals are what the tunnels are called in the table, what is around a packet, and what
// makes them.
type entry struct {
	name          string
	encapsulation string
	port          uint16 // the UDP port that all of it goes by
	rival
	course *course
}

// tools are the programs of others, by where they are.
type tools struct {
	dmvpnd, wireguard, strongswan string
}

// entries gives what competes, ours first.
func entries(l *lab.Lab, t tools) []*entry {
	ours, wireguard, swan := newCourse(l, "dmvpn"), newCourse(l, "wg"), newCourse(l, "swan")
	return []*entry{
		{name: "dmvpnd", encapsulation: "GRE in ESP (AES-128-GCM, transport mode) in UDP", port: 4500, course: ours, rival: &dmvpnd{course: ours, program: t.dmvpnd}},
		{name: "wireguard-go", encapsulation: "WireGuard (ChaCha20-Poly1305) in UDP", port: wireguardPort, course: wireguard, rival: &wireguardGo{course: wireguard, program: t.wireguard}},
		{name: "kernel-libipsec", encapsulation: "ESP (AES-128-GCM, tunnel mode) in UDP", port: 4500, course: swan, rival: &libipsec{course: swan, root: t.strongswan}},
	}
}

// launch starts the tunnel and waits until packets get through, which must go as they are
// said to.
func (e *entry) launch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := e.start(ctx)
	for err == nil {
		if _, err = e.course.hostA.Run(ctx, "ping", "-c", "1", "-W", "1", hostAddressB); err == nil {
			break
		}
		if ctx.Err() == nil {
			time.Sleep(100 * time.Millisecond)
			err = nil
		}
	}
	if err == nil {
		err = e.course.routed(ctx, e.device())
	}
	if err == nil {
		err = e.encapsulated(ctx)
	}
	if err != nil {
		for _, p := range e.processes() {
			err = errors.Join(err, errors.New(tail(p.Output(), 2000)))
		}
		return fmt.Errorf("%s: %w", e.name, err)
	}
	return nil
}

// encapsulated looks at the wire while a packet passes.
func (e *entry) encapsulated(ctx context.Context) error {
	const ethernet, ipv4, udp, payload = 14, 20, 17, 1000
	capture, err := e.course.b.Capture("wan0", func(f lab.Frame) bool { return len(f.Data) > payload })
	if err != nil {
		return err
	}
	_, err = e.course.hostA.Run(ctx, "ping", "-c", "3", "-i", "0.1", "-s", fmt.Sprint(payload), hostAddressB)
	frames := capture.Close()
	if err != nil {
		return err
	}
	if len(frames) < 6 {
		return fmt.Errorf("of 6 packets through the tunnel %d were on the wire", len(frames))
	}
	for _, f := range frames {
		b := f.Data[ethernet:]
		if b[9] != udp || b[ipv4+2] != byte(e.port>>8) || b[ipv4+3] != byte(e.port) {
			return fmt.Errorf("a packet on the wire is not in UDP to port %d: % x", e.port, b[:ipv4+8])
		}
	}
	return nil
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }
