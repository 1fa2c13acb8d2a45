// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"dmvpn/loader"
	"dmvpn/loader/holder"
	"dmvpn/loader/netnstest"
	"dmvpn/loader/pump"
	"dmvpn/loader/underlay"
)

// TestWhatWaitsInARawSocketFindsItsTunnel: a packet for each of two tunnels with one socket has come while
// no daemon was there. The next one adds the tunnels one after the other, and each has its own.
func TestWhatWaitsInARawSocketFindsItsTunnel(t *testing.T) {
	_, d := tunnelAlone(t)
	netnstest.Run(t, "ip address add 192.0.2.11/32 dev lo")
	plane, err := loader.Open(loader.Options{BPFFS: netnstest.BPFFS(t), Instance: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer plane.Close()
	path := filepath.Join(t.TempDir(), "holder.sock")
	served := make(chan error)
	go func() { served <- holder.Serve(path) }()
	var c *holder.Client
	netnstest.Eventually(t, "the holder is there", func() bool {
		c, err = holder.Dial(path)
		return err == nil
	})
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	run := func() *sockets {
		return &sockets{holder: c, tables: plane.Tables, failed: func(err error) { t.Error(err) }, open: map[socketKey]*socket{}}
	}
	key := socketKey{local: netip.MustParseAddr("192.0.2.11")}
	before := run()
	if _, err := before.take(key); err != nil {
		t.Fatal(err)
	}
	before.close()

	const tunnels = 2
	for n := range tunnels {
		out, err := net.Dial("ip4:47", key.local.String())
		if err != nil {
			t.Fatal(err)
		}
		gre := binary.BigEndian.AppendUint32([]byte{0x20, 0, 0x20, 0x01}, uint32(n))
		if _, err := out.Write(append(gre, "NHRP"...)); err != nil {
			t.Fatal(err)
		}
		out.Close()
	}

	now := run()
	defer now.close()
	heard := make(chan int, 2*tunnels)
	hear := func(n int) {
		t.Helper()
		k, err := now.take(key)
		if err != nil {
			t.Fatal(err)
		}
		p := pump.New(pump.Config{
			Tunnel: d.Index, Header: underlay.Header{Key: uint32(n), HasKey: true}, MTU: 1400, Conn: k.conn, Tables: plane.Tables,
			NHRP: func(netip.Addr, []byte) { heard <- n }, Report: func(string) {},
		})
		k.receiver.Add(p)
		now.read([]*socket{k})
	}
	for n := range tunnels {
		hear(n)
	}
	now.launch()
	for n := range tunnels {
		select {
		case got := <-heard:
			if got != n {
				t.Errorf("tunnel %d has the packet of %d", got, n)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("the packet of tunnel %d is lost", n)
		}
	}
	// One that comes up later reads by itself; what is not read ends as well.
	other := socketKey{local: netip.MustParseAddr("127.0.0.1")}
	k, err := now.take(other)
	if err != nil {
		t.Fatal(err)
	}
	if err := now.release(k); err != nil {
		t.Fatal(err)
	}
	key = other
	hear(7)
	out, err := net.Dial("ip4:47", key.local.String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := out.Write([]byte{0x20, 0, 0x20, 0x01, 0, 0, 0, 7, 'N'}); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-heard:
		if got != 7 {
			t.Errorf("tunnel %d has it", got)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing reads from the socket of a tunnel that comes up later")
	}
}
