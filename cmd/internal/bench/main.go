// SPDX-License-Identifier: Apache-2.0

// Command bench measures the data plane beside plain kernel forwarding: on the
// same wires, in one run, in turns. It prints the CPU time that a packet costs on
// its way through a gateway with 10,000 peers, how many Gbit/s of TCP one core
// carries between two sites, and what IKE costs its responder. It fails where a
// counter shows that the packets did not take the path that is measured, and where
// an expectation of ESP does not hold.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"dmvpn/cmd/internal/lab"
)

func main() {
	// Links drawn from a 10,000 patterned space: more would repeat.
	peers := flag.Int("peers", 10000, "peers of the gateway, an even number up to 10000")
	rounds := flag.Int("rounds", 9, "how often each path has its turn")
	packets := flag.Int("packets", 100000, "packets a turn")
	tcp := flag.Duration("tcp", 3*time.Second, "length of a turn of TCP; 0: none")
	cpu := flag.Int("cpu", runtime.NumCPU()-1, "the CPU that is measured")
	handshakes := flag.Int("handshakes", 200, "IKE handshakes a turn; 0: none")
	sas := flag.Int("sas", 10000, "IKE SAs of which the memory is measured")
	tunnels := flag.Int("tunnels", 5, "how often each encrypted tunnel has its turn; 0: none")
	floods := flag.Int("floods", 9, "how often each kind of bogus packets has its turn; 0: none")
	kinds := flag.String("kinds", "", "of the floods only those whose names contain one of these words, with commas between them; empty: all")
	turn := flag.Duration("turn", 3*time.Second, "length of a turn of an encrypted tunnel")
	var t tools
	flag.StringVar(&t.dmvpnd, "dmvpnd", beside("dmvpnd"), "our daemon")
	flag.StringVar(&t.wireguard, "wireguard", "", "wireguard-go, which tools/wireguard-go makes")
	flag.StringVar(&t.strongswan, "strongswan", "", "root file system with strongSwan, which tools/interop/root makes")
	only := flag.String("only", "", "the one thing to measure: encapsulation, decapsulation, hairpin, seal, tunnels, floods or ike")
	flag.Parse()
	var err error
	var v verdicts
	if !slices.Contains([]string{"seal", "tunnels", "floods", "ike"}, *only) {
		err = run(*peers, *rounds, *packets, *cpu, *tcp, *only)
	}
	if err == nil && (*only == "" || *only == "seal") {
		err = sealTable(*rounds, sealPasses, *cpu, &v)
	}
	if err == nil && *tunnels > 0 && (*only == "" || *only == "tunnels") {
		err = tunnelTable(*tunnels, *turn, t, &v)
	}
	if err == nil && *floods > 0 && (*only == "" || *only == "floods") {
		err = floodTable(*floods, *kinds, *cpu, *turn, t, &v)
	}
	if err == nil && *handshakes > 0 && (*only == "" || *only == "ike") {
		err = ikeTable(*rounds, *handshakes, *sas)
	}
	if err = errors.Join(err, v.bad); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// beside finds a program that was built next to this one.
func beside(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(self), name)
}

func run(peers, rounds, packets, cpu int, tcp time.Duration, only string) error {
	if peers < 2 || peers > 10000 || peers%2 != 0 || rounds < 1 || packets < 1 {
		return errors.New("peers must be even, from 2 to 10000, rounds and packets at least 1")
	}
	if err := packetTable(peers, rounds, packets, cpu, only); err != nil {
		return err
	}
	if tcp == 0 {
		return nil
	}
	return tcpTable(rounds, cpu, tcp)
}

// newLab makes a lab that this process alone has.
func newLab() (*lab.Lab, error) { return lab.New(fmt.Sprintf("bench%d", os.Getpid())) }

func packetTable(peers, rounds, packets, cpu int, only string) (err error) {
	l, err := newLab()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	g, err := newGateway(l, peers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	t, err := newTunnel(g.Node, "wan0", wanAddress, overlayPrefix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	for n := range peers {
		if err := errors.Join(t.peer(overlay.address(n), nbma.address(n)),
			t.route(tunnelSites.network(n), overlay.address(n))); err != nil {
			return fmt.Errorf("peer %d: %w", n, err)
		}
	}
	fmt.Printf("CPU %d, %d peers with a network each, random destinations, %d rounds of %d packets\n", cpu, peers, rounds, packets)
	list := slices.DeleteFunc(paths(g), func(p *path) bool { return only != "" && p.name != only })
	if len(list) == 0 {
		return fmt.Errorf("no path %q: encapsulation, decapsulation or hairpin", only)
	}
	for _, p := range list {
		defer p.close()
		if err := p.load(peers); err != nil {
			return err
		}
	}
	if err := measurePackets(g, t, list, cpu, rounds, packets); err != nil {
		return err
	}
	if err := measurePrograms(g, t, list, cpu, packets); err != nil {
		return err
	}
	printPackets(list)
	for _, p := range list {
		if lost := p.proven(); lost != nil {
			said, err := t.drops()
			return errors.Join(fmt.Errorf("%w; drops:%s", lost, said), err)
		}
	}
	return nil
}
