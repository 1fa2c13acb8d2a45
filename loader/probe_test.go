// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"dmvpn/loader/netnstest"
)

// probeChild makes the test binary the process that is probed, when it is
// started for that.
func probeChild() bool {
	dir, child := os.LookupEnv("DMVPN_PROBE")
	if child {
		fmt.Println(Probe(Options{BPFFS: dir}))
	}
	return child
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
