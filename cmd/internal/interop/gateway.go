// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"dmvpn/cmd/internal/lab"
)

// gateway is a DMVPN router of other people's programs: strongSwan, the kernel's ESP and
// multipoint GRE, and FRR's nhrpd; a hub at the second place, a spoke elsewhere.
// strongSwan has a trap for GRE to anybody, so that none leaves in clear and the first
// packet to a peer makes the SA; nhrpd knows nothing of IPsec.
type gateway struct {
	*swan
	spoke  bool
	daemon []*lab.Process
}

// frrDir has FRR's programs, of the machine that the lab's VM runs on.
const frrDir = "/usr/lib/frr"

func (g *gateway) start(ctx context.Context, policy settings) error {
	g.spoke = policy.first || policy.third
	policy.trap = true
	if err := g.swan.start(ctx, policy); err != nil {
		return err
	}
	if err := g.device(ctx); err != nil {
		return err
	}
	return g.frr(ctx)
}

// device makes multipoint GRE with the routes that nhrpd expects.
func (g *gateway) device(ctx context.Context) error {
	commands := []string{
		fmt.Sprintf("link add gre1 mtu 1400 type gre key %d ttl 64 dev eth0", greKey),
		"link set gre1 multicast on",
		// A /32, as FRR wants it.
		"address add " + g.at.overlay.String() + "/32 dev gre1",
		"link set gre1 up",
	}
	if g.spoke {
		commands = append(commands,
			"route add "+secondOverlay+" dev gre1",
			"route add "+lans+" via "+secondOverlay+" dev gre1 onlink",
			// nhrpd answers only whom it routes into the tunnel.
			"route add 10.0.0.0/24 via "+secondOverlay+" dev gre1 onlink")
	} else {
		// nhrpd takes no prefixes from spokes.
		commands = append(commands,
			"route add "+firstOverlay+" dev gre1",
			"route add "+firstLAN+" via "+firstOverlay+" dev gre1 onlink",
			"route add "+thirdOverlay+" dev gre1",
			"route add "+thirdLAN+" via "+thirdOverlay+" dev gre1 onlink")
	}
	for _, key := range []string{"all", "default"} {
		g.at.node.Sysctl("net/ipv4/conf/"+key+"/send_redirects", "0")
		g.at.node.Sysctl("net/ipv6/conf/"+key+"/disable_ipv6", "1")
	}
	if !g.spoke {
		if err := g.redirects(ctx); err != nil {
			return err
		}
	}
	batch := filepath.Join(g.at.node.Dir, "device.ip")
	if err := os.WriteFile(batch, []byte(strings.Join(commands, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	_, err := g.at.node.Run(ctx, "ip", "-batch", batch)
	return err
}

// redirects lets nhrpd know what the hub forwards from the tunnel back into it, of which it
// tells the sender: the rule of FRR's manual.
func (g *gateway) redirects(ctx context.Context) error {
	_, err := g.at.node.Run(ctx, "nft", `table ip dmvpn {
    set seen { type ipv4_addr . ipv4_addr; flags dynamic; timeout 60s; }
    chain forward {
        type filter hook forward priority filter;
        iifname "gre1" oifname "gre1" update @seen { ip saddr . ip daddr limit rate 10/minute burst 1 packets } log group 1 snaplen 128 queue-threshold 1
    }
}`)
	return err
}

// frr starts zebra and nhrpd.
func (g *gateway) frr(ctx context.Context) error {
	owner, err := user.Lookup("frr")
	if err != nil {
		return fmt.Errorf("FRR: %w", err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	run := filepath.Join(g.at.node.Dir, "frr")
	for _, dir := range []string{run, "/run/frr"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.Chown(run, uid, gid); err != nil {
		return err
	}
	g.at.node.Bind("/run/frr", run)
	role, global := "ip nhrp redirect", "nhrp nflog-group 1\n"
	if g.spoke {
		global = ""
		role = "ip nhrp shortcut\n ip nhrp nhs " + secondOverlay + " nbma " + secondAddress
	}
	for _, d := range []struct{ name, conf, ready string }{
		{"zebra", "hostname zebra\n", "zserv.api"},
		{"nhrpd", "hostname nhrpd\ndebug nhrp all\n" + global + "interface gre1\n ip nhrp network-id 1\n ip nhrp holdtime 30\n" +
			" ip nhrp registration no-unique\n " + role + "\n tunnel source eth0\n", "nhrpd.vty"},
	} {
		conf := filepath.Join(run, d.name+".conf")
		if err := os.WriteFile(conf, []byte(d.conf), 0o644); err != nil {
			return err
		}
		p, err := g.at.node.Launch(d.name, filepath.Join(frrDir, d.name), "-f", conf, "--log", "stdout")
		if err != nil {
			return err
		}
		g.daemon = append(g.daemon, p)
		for {
			if _, err := os.Stat(filepath.Join(run, d.ready)); err == nil {
				break
			}
			select {
			case <-p.Done():
				return fmt.Errorf("%s does not start: %s", d.name, p.Output())
			case <-ctx.Done():
				return fmt.Errorf("%s does not start: %w: %s", d.name, ctx.Err(), p.Output())
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// connect waits: the first registration springs the trap, or the peer connects.
func (g *gateway) connect(ctx context.Context) error {
	for {
		sas, err := g.sas()
		if err == nil && len(sas) > 0 && len(sas[0].children) > 0 && g.neighbour() {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("charon has %s, nhrpd has told the kernel where its peer is: %t: %w", describe(sas), g.neighbour(), ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// neighbour says whether nhrpd has told the kernel where its peer is: before it has, packets
// to it are refused.
func (g *gateway) neighbour() bool {
	link, err := g.at.node.Net.LinkByName("gre1")
	if err != nil {
		return false
	}
	all, err := g.at.node.Net.NeighList(link.Attrs().Index, netlink.FAMILY_V4)
	return err == nil && slices.ContainsFunc(all, func(n netlink.Neigh) bool {
		return n.IP.String() == g.peer.overlay.String() && n.LLIPAddr.String() == g.peer.seen.String()
	})
}

// remind tells the kernel itself where its peer is. After a silence nhrpd 8.4 leaves the entry
// that the kernel made, with link layer address 0.0.0.0, and its kernel refuses every packet.
func (g *gateway) remind() error {
	if g.neighbour() {
		return nil
	}
	link, err := g.at.node.Net.LinkByName("gre1")
	if err != nil {
		return err
	}
	return g.at.node.Net.NeighSet(&netlink.Neigh{
		LinkIndex: link.Attrs().Index, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT,
		IP: g.peer.overlay.AsSlice(), LLIPAddr: g.peer.seen.AsSlice(),
	})
}

func (g *gateway) transcript() string {
	all := g.swan.transcript()
	for _, d := range g.daemon {
		all += "--- " + filepath.Base(d.Log) + "\n" + d.Output()
	}
	return all + "--- what its kernel dropped\n" + g.dropped()
}

// dropped are the kernel's counters of ESP that are not 0.
func (g *gateway) dropped() string {
	var b []byte
	err := g.at.node.Do(func() (err error) {
		b, err = os.ReadFile("/proc/thread-self/net/xfrm_stat")
		return err
	})
	if err != nil {
		return err.Error() + "\n"
	}
	var some strings.Builder
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 2 && f[1] != "0" {
			some.WriteString(line)
		}
	}
	return some.String()
}
