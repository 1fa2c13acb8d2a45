// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
	"dmvpn/cmd/internal/lab/cloud/cloudtest"
)

// programs are those of this tree, built once for all tests.
var programs cloud.Programs

var suiteProgram string

func TestMain(m *testing.M) {
	os.Exit(cloudtest.WithPrograms(func(folder string) int {
		programs, suiteProgram = cloudtest.Programs(folder), filepath.Join(folder, "dmvpn-lab")
		return m.Run()
	}))
}

// tester is a node behind the Internet with a whole prefix of addresses, of each version of IP.
func tester(t *testing.T, c *cloud.Cloud) *lab.Node {
	t.Helper()
	n := c.Node("tester")
	c.Wire(&lab.Wire{
		A: lab.End{Node: "tester", Device: "eth0", Address: "198.51.100.1/24"},
		B: lab.End{Node: "internet", Device: "tester", Address: "198.51.100.254/24"},
	})
	n.Route("198.51.100.254", "default")
	n.Address("eth0", "2001:db8:64::1/64")
	c.Internet.Address("tester", "2001:db8:64::fe/64")
	c.Internet.Sysctl("net/ipv6/conf/all/forwarding", "1")
	c.Internet.Route("2001:db8:64::1", local6)
	n.Route("2001:db8:64::fe", "::/0")
	if err := c.Err(); err != nil {
		t.Fatal(err)
	}
	local(t, n, local4)
	local(t, n, local6)
	return n
}

// What is local to the tester.
const (
	local4 = "198.51.100.0/25"
	local6 = "2001:db8:65::/121"
)

// try runs the suite in a node, as its user would.
func try(t *testing.T, n *lab.Node, args ...string) []Result {
	t.Helper()
	args = append([]string{"conformance", "-j", "--wait", "300ms", "--at-once", "24"}, args...)
	out, err := n.Run(t.Context(), suiteProgram, args...)
	var results []Result
	if e := json.Unmarshal([]byte(out), &results); e != nil {
		t.Fatalf("%v: %v\n%s", err, e, out)
	}
	failed := Count(results)[Fail]
	if (err == nil) != (failed == 0) {
		t.Errorf("%d rows failed, and the program ended with: %v", failed, err)
	}
	return results
}

// build makes a cloud with a tester in it.
func build(t *testing.T, o cloud.Options) (*cloud.Cloud, *lab.Node) {
	t.Helper()
	o.Programs = programs
	c := cloudtest.New(t, o)
	return c, tester(t, c)
}

// TestOurServerConforms: nothing fails, and nothing is otherwise than the list has it.
//
//	tester 198.51.100.0/25 ── internet ── hub 192.0.2.1
func TestOurServerConforms(t *testing.T) {
	c, n := build(t, cloud.Options{Settings: func(node string, s *cloud.Settings) {
		s.Tunnels[0].Address = cloud.HubTunnel().String() + "/16"
	}})
	if err := c.Start("hub"); err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(t.Context(), "hub"); err != nil {
		t.Fatal(err)
	}
	results := try(t, n, "--target", cloud.HubNBMA().String(), "--server-address", "10.0.0.1/16", "--key", "42", "--auth", "test1234",
		"--local", local4, "--behind", "10.10.0.0/24")
	report(t, results, mayNotApply)
	// From one address alone: what takes several does not apply, all else is as before.
	for _, r := range try(t, n, "--target", cloud.HubNBMA().String(), "--server-address", "10.0.0.1/16", "--key", "42", "--auth", "test1234",
		"--local", "198.51.100.127", "--run", "^(HD-0[2579]|RR|RG-0[14])") {
		several := strings.Contains(r.Detail, "addresses in --local")
		if want := r.ID == "RG-04"; several != want || !several && r.Verdict != Pass {
			t.Errorf("from one address: %s: %s %s", r.ID, r.Verdict, r.Detail)
		}
	}
}

// TestOurClientConforms: the tester plays eight servers, for eight cases at once.
//
//	tester 198.51.100.1 – .8 ── internet ── spoke1 198.18.1.1
func TestOurClientConforms(t *testing.T) {
	report(t, tryClient(t, 4, 4), without)
}

var without = map[string]string{"RG-07": "our client does not register as unique unless it is told to"}

// tryClient tries our client with an overlay and an underlay of a version of IP.
func tryClient(t *testing.T, inside, over int) []Result {
	t.Helper()
	const servers = 8
	at := map[int]string{4: "198.51.100.%d", 6: "2001:db8:65::%d"}[over]
	protocol, length, routes := "10.0.0.%d", "/24", "10.20.%d.0/24"
	if inside == 6 {
		protocol, length, routes = "fd00::%d", "/64", "fd20:0:%d::/64"
	}
	args := []string{"--role", "nhc", "--target", cloud.NBMAOf(over, 1).String(), "--server-address", fmt.Sprintf(protocol, 1) + length,
		"--key", "42", "--auth", "test1234", "--behind", cloud.NetworkOf(inside, 1).String(), "--local", fmt.Sprintf(at, servers+1)}
	c, n := build(t, cloud.Options{Spokes: 1, Inside: []int{inside}, Over: func(string) []int { return []int{over} }, Settings: func(node string, s *cloud.Settings) {
		if node != "spoke1" {
			return
		}
		s.Tunnels[0].HoldingTime, s.Tunnels[0].NHS = 3*time.Second, nil
		for i := 1; i <= servers; i++ {
			nbma, routed := fmt.Sprintf(at, i), fmt.Sprintf(routes, i)
			s.Tunnels[0].NHS = append(s.Tunnels[0].NHS, cloud.NHS{NBMA: nbma, Protocol: fmt.Sprintf(protocol, i), Routes: []string{routed}})
			args = append(args, "--local", nbma, "--routed", routed)
		}
	}})
	if err := c.Start("spoke1"); err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(t.Context(), "spoke1"); err != nil {
		t.Fatal(err)
	}
	return try(t, n, args...)
}

// mayNotApply are the rows that say nothing of ours, with the reason.
var mayNotApply = map[string]string{
	"RP-01": owners, "RP-07": owners, "PU-05": owners,
}

const owners = "our server passes requests on to whom they are about"

// report judges, and records as ours.
func report(t *testing.T, results []Result, without map[string]string) {
	t.Helper()
	judge(t, results, without)
	record(t, results)
}

// judge fails for every row that is neither passed nor known not to apply.
func judge(t *testing.T, results []Result, without map[string]string) {
	t.Helper()
	for _, r := range results {
		var b bytes.Buffer
		WriteLine(&b, r)
		switch {
		case r.Verdict == Pass:
		case r.Verdict == NotApplicable && without[r.ID] != "":
			t.Logf("%s", b.String())
		default:
			t.Errorf("%s", b.String())
		}
	}
	t.Log(Summary(results))
}
