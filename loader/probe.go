// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// The oldest kernel that the programs are made for.
const (
	kernelMajor = 6
	kernelMinor = 1
)

// Probe looks for everything that the data plane needs and says in one sentence
// what is missing first: a capability, the kernel's version, TUN, a bpffs that
// is mounted and writable, BPF. It changes nothing.
func Probe(o Options) error {
	for _, check := range []func(Options) error{probeCapabilities, probeKernel, probeTUN, probeBPFFS, probeBPF} {
		if err := check(o); err != nil {
			return fmt.Errorf("loader: %w", err)
		}
	}
	return nil
}

func probeCapabilities(Options) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("read the capabilities: %w", err)
	}
	has := func(c int) bool { return sets[c/32].Effective&(1<<(c%32)) != 0 }
	for _, need := range []struct {
		any  []int
		name string
		why  string
	}{
		{[]int{unix.CAP_NET_ADMIN}, "CAP_NET_ADMIN", "devices, routes and programs at devices"},
		{[]int{unix.CAP_NET_RAW}, "CAP_NET_RAW", "the raw GRE socket"},
		{[]int{unix.CAP_BPF, unix.CAP_SYS_ADMIN}, "CAP_BPF", "BPF programs and maps"},
		{[]int{unix.CAP_PERFMON, unix.CAP_SYS_ADMIN}, "CAP_PERFMON", "arithmetic on packets in BPF"},
	} {
		found := false
		for _, c := range need.any {
			found = found || has(c)
		}
		if !found {
			return fmt.Errorf("the capability %s is missing, needed for %s: run dmvpnd as root or by its systemd unit", need.name, need.why)
		}
	}
	return nil
}

func probeKernel(Options) error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("ask the kernel's version: %w", err)
	}
	return checkKernel(unix.ByteSliceToString(name.Release[:]))
}

func checkKernel(release string) error {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return fmt.Errorf("kernel release %q has no version that can be read", release)
	}
	if major < kernelMajor || major == kernelMajor && minor < kernelMinor {
		return fmt.Errorf("kernel %s is too old: %d.%d or newer is needed", release, kernelMajor, kernelMinor)
	}
	return nil
}

func probeTUN(Options) error {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("TUN devices cannot be made: %w: load the module (modprobe tun) or give access to the file", err)
	}
	defer f.Close()
	has, err := unix.IoctlGetInt(int(f.Fd()), unix.TUNGETFEATURES)
	if err != nil {
		return fmt.Errorf("TUN devices cannot be made: /dev/net/tun is something else (%w): load the module (modprobe tun), make the device node (c 10 200)", err)
	}
	const need = unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_MULTI_QUEUE
	if has&need != need {
		return fmt.Errorf("the kernel's TUN devices lack what is needed: features %#x of %#x", has&need, need)
	}
	return nil
}

func probeBPFFS(o Options) error {
	dir := o.bpffs()
	if err := checkBPFFS(dir); err != nil {
		return err
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return fmt.Errorf("the bpffs %s cannot be written to: %w: remount it (mount -o remount,rw %s) or run as root", dir, err, dir)
	}
	return nil
}

func probeBPF(Options) error {
	missing := func(what string, err error) error {
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ebpf.ErrNotSupported):
			return fmt.Errorf("the kernel lacks %s: it must be built with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_ACT", what)
		case errors.Is(err, os.ErrPermission):
			return fmt.Errorf("the kernel refuses BPF to this process (%s): give it CAP_BPF and CAP_NET_ADMIN in the initial user namespace: %w", what, err)
		}
		return fmt.Errorf("ask the kernel for %s: %w", what, err)
	}
	for _, check := range []struct {
		what string
		ask  func() error
	}{
		{"BPF programs for traffic control", func() error { return features.HaveProgramType(ebpf.SchedCLS) }},
		{"BPF ring buffers", func() error { return features.HaveMapType(ebpf.RingBuf) }},
		{"bpf_redirect_neigh", func() error { return features.HaveProgramHelper(ebpf.SchedCLS, asm.FnRedirectNeigh) }},
		{"bpf_fib_lookup", func() error { return features.HaveProgramHelper(ebpf.SchedCLS, asm.FnFibLookup) }},
	} {
		if err := missing(check.what, check.ask()); err != nil {
			return err
		}
	}
	return nil
}
