// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

const tree = "../../../.." // from this folder

// TestTheREADMELeadsToAHubAndASpoke: what it says is done to the letter, on
// machines that have nothing but what make install brings. Its addresses are
// those of the cloud.
func TestTheREADMELeadsToAHubAndASpoke(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join(tree, "README.md"))
	check(t, err)
	_, use, found := strings.Cut(string(readme), "\n## Use it\n")
	files := regexp.MustCompile("(?s)\n```toml\n(.*?)\n```").FindAllStringSubmatch(use, -1)
	if !found || len(files) != 2 {
		t.Fatalf("the README shows %d files under Use it, not a hub's and a spoke's", len(files))
	}
	hub, spoke := files[0][1], files[1][1]
	for who, file := range map[string]string{"hub": hub, "spoke": spoke} {
		if n := len(regexp.MustCompile(`(?m)^[^#\n]`).FindAllString(file, -1)); n > 10 {
			t.Errorf("the %s's file has %d lines", who, n)
		}
	}
	c := build(t, cloud.Options{Spokes: 2})
	r := reader{t, c, map[string]string{"hub": hub, "spoke1": spoke, "spoke2": strings.NewReplacer(
		"10.0.0.11", "10.0.0.12", "10.10.1.0", "10.10.2.0", "spoke1.example", "spoke2.example").Replace(spoke)}, map[string]string{}}
	r.install()
	r.makeKey(use)
	both, look, _ := strings.Cut(use, "\n## Look into it\n")
	_, both, _ = strings.Cut(both, "On both:\n")
	for node := range r.files {
		for _, line := range commands(both) {
			r.follow(node, line)
		}
	}
	until(t, c, patience, func() error { return c.AllRegistered(t.Context()) })
	ping(t, c.Hosts[0], 0)
	ping(t, c.HubHost, 1)
	shortcut(t, c, 1, 2)
	r.look(look)
	for node := range r.files {
		r.typed(node, "dmvpn teardown")
		until(t, c, patience, func() error { return c.Clean(t.Context(), node) })
	}
}

// reader is someone who does what the README says.
type reader struct {
	t     *testing.T
	cloud *cloud.Cloud
	files map[string]string // each node's configuration
	roots map[string]string // what was installed there
}

// commands are the lines to type: those that are indented by four, without
// comments.
func commands(text string) []string {
	var lines []string
	for _, m := range regexp.MustCompile(`(?m)^    (\S.*?)(?: +#.*)?$`).FindAllStringSubmatch(text, -1) {
		lines = append(lines, m[1])
	}
	return lines
}

// install installs for each node, and writes its configuration.
func (r *reader) install() {
	r.t.Helper()
	for node, file := range r.files {
		root := r.t.TempDir()
		r.roots[node] = root
		install := exec.Command("make", "-s", "install", "DESTDIR="+root)
		install.Dir = tree
		if out, err := install.CombinedOutput(); err != nil {
			r.t.Fatalf("make install: %v\n%s", err, out)
		}
		check(r.t, os.WriteFile(filepath.Join(root, "etc/dmvpn/dmvpn.toml"), []byte(file), 0o640))
		check(r.t, os.Mkdir(filepath.Join(root, "etc/sysctl.d"), 0o755))
		// What other programs want of /etc.
		for _, name := range []string{"passwd", "group", "protocols", "ld.so.cache"} {
			if content, err := os.ReadFile("/etc/" + name); err == nil {
				check(r.t, os.WriteFile(filepath.Join(root, "etc", name), content, 0o644))
			}
		}
	}
}

// makeKey types on the hub what the README says of the key, and copies it to every member.
func (r *reader) makeKey(text string) {
	r.t.Helper()
	line := regexp.MustCompile("Make the key once, `([^`]+)`").FindStringSubmatch(text)
	if line == nil {
		r.t.Fatal("the README does not say how the key is made")
	}
	r.typed("hub", line[1])
	file := func(node string) string { return filepath.Join(r.roots[node], "etc/dmvpn/psk") }
	key, err := os.ReadFile(file("hub"))
	check(r.t, err)
	if bytes, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(key))); err != nil || len(bytes) != 32 {
		r.t.Errorf("the key %q is not 32 octets in base64: %v", key, err)
	}
	for node := range r.files {
		if node != "hub" {
			check(r.t, os.WriteFile(file(node), key, 0o600))
		}
	}
}

// line is what is typed, on a machine where /etc and /usr/local are the node's.
func (r *reader) line(node, line string) []string {
	root := r.roots[node]
	return []string{"sh", "-ec", fmt.Sprintf("mount --bind %[1]s/etc /etc; mount --bind %[1]s/usr/local /usr/local; "+
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; %[2]s", root, line)}
}

func (r *reader) typed(node, line string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	words := r.line(node, line)
	out, err := r.cloud.Get(node).Run(ctx, words[0], words[1:]...)
	if err != nil {
		r.t.Fatalf("%s# %s: %v\n%s", node, line, err, out)
	}
	return out
}

// follow types a line of what is done on both. The nodes have no systemd: the
// units' commands are started with the units' capabilities instead.
func (r *reader) follow(node, line string) {
	r.t.Helper()
	units, enabled := strings.CutPrefix(line, "systemctl enable --now ")
	if !enabled {
		r.typed(node, line)
		return
	}
	for name := range strings.FieldsSeq(units) {
		u := r.unit(node, name)
		if u["Type"] == "oneshot" {
			r.typed(node, u.confined()+u["ExecStart"])
			continue
		}
		r.typed(node, u.confined()+u["ExecStartPre"])
		words := r.line(node, u.confined()+u["ExecStart"])
		p, err := r.cloud.Get(node).Launch(name, words[0], words[1:]...)
		check(r.t, err)
		until(r.t, r.cloud, patience, func() error {
			if !strings.Contains(p.Output(), " INF ready ") {
				return fmt.Errorf("%s: %s is not ready: %s", node, name, p.Output())
			}
			return nil
		})
	}
}

// unit is what an installed unit of systemd says.
type unit map[string]string

func (r *reader) unit(node, name string) unit {
	r.t.Helper()
	file, err := os.ReadFile(filepath.Join(r.roots[node], "usr/local/lib/systemd/system", name+".service"))
	check(r.t, err)
	u := unit{}
	for _, m := range regexp.MustCompile(`(?m)^(\w+)=(.*)$`).FindAllSubmatch(file, -1) {
		u[string(m[1])] = string(m[2])
	}
	for _, want := range []string{"ExecStart", "CapabilityBoundingSet", "UMask"} {
		if u[want] == "" {
			r.t.Fatalf("the unit %s has no %s", name, want)
		}
	}
	return u
}

// confined goes before a command that is to have a unit's capabilities.
func (u unit) confined() string {
	capabilities := strings.ReplaceAll(strings.ToLower(u["CapabilityBoundingSet"]), "cap_", "+")
	return "umask " + u["UMask"] + "; exec setpriv --no-new-privs --bounding-set=-all," + strings.ReplaceAll(capabilities, " ", ",") + " "
}

// look types the lines of Look into it on spoke1.
func (r *reader) look(text string) {
	r.t.Helper()
	wanted := map[string]string{
		"dmvpn": "dmvpn0: spoke, 10.0.0.11/24, up", "dmvpn peer": "192.0.2.1", "dmvpn nhs": "up",
		"dmvpn nhrp": "10.10.2.0/24", "dmvpn stats": "registration-request-sent", "dmvpn shortcut": "10.10.2.0/24",
		"dmvpn drops": "nothing was dropped|REASON", "dmvpn show dmvpn": "Type:Spoke", "dmvpn show ip nhrp": "10.10.2.0/24 via 10.0.0.12",
		"ip route show proto 54": "10.10.2.0/24 via 10.0.0.12 dev dmvpn0",
	}
	said := 0
	for _, line := range commands(text) {
		if strings.HasPrefix(line, "tcpdump") {
			r.sniff(line)
			continue
		}
		out := r.typed("spoke1", line)
		said++
		if !slices.ContainsFunc(strings.Split(wanted[line], "|"), func(w string) bool { return strings.Contains(out, w) }) {
			r.t.Errorf("%s: no %q in\n%s", line, wanted[line], out)
		}
		delete(wanted, line)
		if strings.HasPrefix(line, "dmvpn") || strings.HasPrefix(line, "curl") {
			if strings.HasPrefix(line, "dmvpn") {
				out = r.typed("spoke1", line+" -j")
			}
			if !json.Valid([]byte(out)) {
				r.t.Errorf("%s gives no JSON: %s", line, out)
			}
		}
	}
	if said < 10 || len(wanted) > 0 {
		r.t.Errorf("the README has %d lines to look with, and lacks %v", said, wanted)
	}
}

// sniff types a line with tcpdump and waits for a packet.
func (r *reader) sniff(line string) {
	r.t.Helper()
	words := r.line("spoke1", "exec "+strings.Replace(line, "tcpdump", "tcpdump -l -c 1", 1))
	p, err := r.cloud.Spokes[0].Launch("tcpdump", words[0], words[1:]...)
	check(r.t, err)
	until(r.t, r.cloud, patience, func() error {
		select {
		case <-p.Done():
		default:
			_, _ = r.cloud.Hosts[0].Ping(cloud.Host(2), 0, 100*time.Millisecond)
			return fmt.Errorf("%s shows nothing: %s", line, p.Output())
		}
		if !strings.Contains(p.Output(), "1 packet captured") {
			return fmt.Errorf("%s: %s", line, p.Output())
		}
		return nil
	})
}
