// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab/cloud"
)

// TestASpokeRegistersAndItsLANIsReached: phase 1. The hub was told of no spoke.
func TestASpokeRegistersAndItsLANIsReached(t *testing.T) { modes(t, aSpokeRegistersAndItsLANIsReached) }

func aSpokeRegistersAndItsLANIsReached(t *testing.T, m mode) {
	c := m.up(t, cloud.Options{Spokes: 2, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke1" {
			s.Tunnels[0].Keys = append(s.Tunnels[0].Keys, `group = "branch é"`)
		}
	}})
	ctx := t.Context()
	for _, show := range [][]string{{"nhrp"}, {"nhrp", "-j"}, {"show", "ip", "nhrp"}} {
		out, err := c.Dmvpn(ctx, "hub", show...)
		check(t, err)
		if !strings.Contains(out, "branch é") {
			t.Errorf("dmvpn %s on the hub lacks spoke1's group:\n%s", strings.Join(show, " "), out)
		}
	}
	out, err := c.Dmvpn(ctx, "hub", "show", "ip", "nhrp")
	check(t, err)
	for n := 1; n <= 2; n++ {
		for _, want := range []string{cloud.TunnelAddress(n).String(), cloud.NBMA(n).String(), cloud.Network(n).String()} {
			if !strings.Contains(out, want) {
				t.Errorf("show ip nhrp on the hub lacks %s:\n%s", want, out)
			}
		}
		ping(t, c.HubHost, n)
		ping(t, c.Hosts[n-1], 0)
		if _, err := c.Spokes[n-1].Ping(cloud.HubTunnel(), 0, patience); err != nil {
			t.Error(err)
		}
	}
}

// TestASpokeStartedBeforeItsHub: the registration is tried again.
func TestASpokeStartedBeforeItsHub(t *testing.T) { modes(t, aSpokeStartedBeforeItsHub) }

func aSpokeStartedBeforeItsHub(t *testing.T, m mode) {
	c := m.build(t, cloud.Options{Spokes: 1})
	check(t, c.Start("spoke1"))
	check(t, c.Ready(t.Context(), "spoke1"))
	time.Sleep(1500 * time.Millisecond)
	if c.Registered(t.Context(), "spoke1") == nil {
		t.Fatal("registered without a hub")
	}
	check(t, c.Start("hub"))
	until(t, c, patience, func() error { return c.AllRegistered(t.Context()) })
	ping(t, c.Hosts[0], 0)
}

// TestAWrongPasswordDoesNotRegister: authentication is compared.
func TestAWrongPasswordDoesNotRegister(t *testing.T) { modes(t, aWrongPasswordDoesNotRegister) }

func aWrongPasswordDoesNotRegister(t *testing.T, m mode) {
	c := m.build(t, cloud.Options{Spokes: 2, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke2" {
			s.Tunnels[0].Authentication = "wrong"
		}
	}})
	check(t, c.StartAll(t.Context()))
	until(t, c, patience, func() error { return c.Registered(t.Context(), "spoke1") })
	until(t, c, patience, func() error {
		return c.Ask(t.Context(), "spoke2", func(ctx context.Context, client *control.Client) error {
			servers, err := client.NHS(ctx)
			if err == nil && (len(servers) != 1 || !strings.Contains(servers[0].LastError, "authentication failure")) {
				err = fmt.Errorf("spoke2 does not say that its password is wrong: %+v", servers)
			}
			return err
		})
	})
	time.Sleep(2 * time.Second)
	if c.Registered(t.Context(), "spoke2") == nil {
		t.Error("spoke2 registered with the wrong password")
	}
	if c.Routed("hub", cloud.Network(2)) == nil {
		t.Error("the hub routes to the LAN of a spoke with the wrong password")
	}
}

// TestAServerByItsName: the hub is named in the DNS, which comes to know it late.
//
//	spoke1 ── internet (DNS) ── hub
func TestAServerByItsName(t *testing.T) { modes(t, aServerByItsName) }

func aServerByItsName(t *testing.T, m mode) {
	c := m.build(t, cloud.Options{Spokes: 1, Services: []uint16{dns53}, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke1" {
			s.Tunnels[0].NHS[0].NBMA = "hub.example.net"
		}
	}})
	server := cloud.NBMA(1).As4()
	server[3] = 254 // the Internet's end of spoke1's wire
	dns, err := c.Internet.DNS(addr(server))
	check(t, err)
	defer dns.Close()
	check(t, c.Spokes[0].File("/etc/resolv.conf", "nameserver "+addr(server).String()+"\noptions timeout:1 attempts:1\n"))
	check(t, c.StartAll(t.Context()))
	until(t, c, patience, func() error {
		if dns.Asked() == 0 {
			return errNotYet
		}
		return nil
	})
	dns.Set("hub.example.net", cloud.HubNBMA())
	until(t, c, 20*time.Second, func() error { return c.AllRegistered(t.Context()) })
	ping(t, c.Hosts[0], 0)
}
