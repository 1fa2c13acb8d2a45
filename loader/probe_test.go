// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"dmvpn/loader/netnstest"
)

// probeChild makes the test binary the process that is probed, when it is
// started for that.
func probeChild() bool {
	dir, child := os.LookupEnv("DMVPN_PROBE")
	if child {
		spoil(dir)
		fmt.Println(Probe(Options{BPFFS: dir}))
	}
	return child
}

// spoil takes away, in a mount namespace of our own, what the environment says.
func spoil(dir string) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	switch os.Getenv("DMVPN_PROBE_TUN") {
	case "none":
		must(unix.Mount("none", "/dev/net", "tmpfs", 0, ""))
	case "file":
		must(unix.Mount("none", "/dev/net", "tmpfs", 0, ""))
		must(os.WriteFile("/dev/net/tun", nil, 0o600))
	}
	if os.Getenv("DMVPN_PROBE_READONLY") != "" {
		must(unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	}
}

func TestProbeNamesWhatIsMissing(t *testing.T) {
	bpffs, plain := netnstest.BPFFS(t), t.TempDir()
	for _, c := range []struct {
		name, wrapper, dir, want string
	}{
		{"nothing is missing", "env", bpffs, "<nil>"},
		{"no CAP_NET_ADMIN", "setpriv --bounding-set -net_admin --inh-caps -net_admin", bpffs, "capability CAP_NET_ADMIN is missing"},
		{"no CAP_NET_RAW", "setpriv --bounding-set -net_raw --inh-caps -net_raw", bpffs, "capability CAP_NET_RAW is missing"},
		{"no CAP_BPF", "setpriv --bounding-set -bpf,-sys_admin --inh-caps -bpf,-sys_admin", bpffs, "capability CAP_BPF is missing"},
		{"no CAP_PERFMON", "setpriv --bounding-set -perfmon,-sys_admin --inh-caps -perfmon,-sys_admin", bpffs, "capability CAP_PERFMON is missing"},
		{"no TUN", "unshare -m env DMVPN_PROBE_TUN=none", bpffs, "open /dev/net/tun: no such file or directory: load the module (modprobe tun)"},
		{"a file for TUN", "unshare -m env DMVPN_PROBE_TUN=file", bpffs, "/dev/net/tun is something else"},
		{"a user namespace", "unshare -U -r", bpffs, "the kernel refuses BPF to this process"},
		{"a bpffs that is read only", "unshare -m env DMVPN_PROBE_READONLY=1", bpffs, "cannot be written to: read-only file system: remount it"},
		{"no bpffs", "env", plain, "is not a bpffs: mount one there (mount -t bpf bpf " + plain + ")"},
		{"no directory", "env", plain + "/none", "no such file or directory: mount a bpffs there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			words := append(strings.Fields(c.wrapper), os.Args[0])
			child := exec.Command(words[0], words[1:]...)
			child.Env = append(os.Environ(), "DMVPN_PROBE="+c.dir)
			out, err := child.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if got := strings.TrimSpace(string(out)); !strings.Contains(got, c.want) || strings.Contains(got, "\n") {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestOldKernelsAreRefused(t *testing.T) {
	for release, want := range map[string]string{
		"6.1.0-18-amd64": "", "6.18.44": "", "7.0": "",
		"5.15.0-105-generic": "kernel 5.15.0-105-generic is too old: 6.1 or newer is needed",
		"6.0.9":              "too old", "unknown": "no version",
	} {
		if err := checkKernel(release); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", release, err)
		}
	}
}
