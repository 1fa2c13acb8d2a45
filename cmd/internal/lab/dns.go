// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// A DNS server answers for a few names in one node.
type DNS struct {
	conn *net.UDPConn
	done chan struct{}

	mu    sync.Mutex
	hosts map[string][]netip.Addr
	asked int
}

// DNS starts a server on an address of the node, port 53. It knows no name yet.
func (n *Node) DNS(address netip.Addr) (*DNS, error) {
	d := &DNS{done: make(chan struct{}), hosts: map[string][]netip.Addr{}}
	err := n.Do(func() (err error) {
		d.conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, 53)))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("node %s: DNS server: %w", n.Name, err)
	}
	go d.serve()
	return d, nil
}

// Set gives a name its IPv4 addresses; none: the name is unknown.
func (d *DNS) Set(name string, addresses ...netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hosts[canonical(name)] = addresses
}

// Asked is how many questions have come.
func (d *DNS) Asked() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// Close ends the server.
func (d *DNS) Close() {
	d.conn.Close()
	<-d.done
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

func (d *DNS) serve() {
	defer close(d.done)
	buf := make([]byte, 1500)
	for {
		size, from, err := d.conn.ReadFromUDPAddrPort(buf)
		if isClosed(err) {
			return
		}
		if err != nil {
			continue
		}
		if answer, err := d.answer(buf[:size]); err == nil {
			_, _ = d.conn.WriteToUDPAddrPort(answer, from) // lost, as an answer may be
		}
	}
}

func (d *DNS) answer(query []byte) ([]byte, error) {
	var q dnsmessage.Message
	if err := q.Unpack(query); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	a := dnsmessage.Message{Questions: q.Questions}
	a.Header = dnsmessage.Header{ID: q.ID, Response: true, Authoritative: true, RecursionDesired: q.RecursionDesired, RecursionAvailable: true}
	for _, question := range q.Questions {
		addresses := d.hosts[canonical(question.Name.String())]
		if len(addresses) == 0 {
			a.RCode = dnsmessage.RCodeNameError
		}
		if question.Type != dnsmessage.TypeA {
			continue
		}
		for _, address := range addresses {
			a.Answers = append(a.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: 1},
				Body:   &dnsmessage.AResource{A: address.As4()},
			})
		}
	}
	return a.Pack()
}
