// SPDX-License-Identifier: Apache-2.0

// Package loader puts the data plane into the kernel and keeps it there: it
// loads the programs, pins maps and links, attaches to devices, and replaces
// running programs without a gap. What it pins goes on forwarding when the
// daemon is away.
package loader

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"

	"dmvpn/bpf"
	"dmvpn/loader/tables"
)

// Names of the programs.
const (
	progEncap  = "dmvpn_encap"  // egress of the tunnel device
	progArrive = "dmvpn_arrive" // ingress of the tunnel device, where that is in a VRF
	progDecap  = "dmvpn_decap"  // ingress of the underlay device
	progFilter = "dmvpn_filter" // sockets of ESP
	progSteer  = "dmvpn_steer"  // queues of the tunnel device
)

// Options says where an instance lives. The zero value is the default one.
type Options struct {
	BPFFS    string // mount point of a bpffs; "": /sys/fs/bpf
	Instance string // "": default
	Clsact   bool   // attach by clsact even where the kernel has TCX (6.6)
}

// Plane is the data plane of an instance. One process at a time may have it
// open. Its methods may be called together, but for ReadEvent; those that take a
// device run in the network namespace of the calling thread.
type Plane struct {
	Tables *tables.Tables

	options Options
	spec    *ebpf.CollectionSpec
	maps    map[string]*ebpf.Map
	events  *ringbuf.Reader

	mu       sync.Mutex
	programs map[programKey]*ebpf.Program
}

// programKey is a program with what its constant was set to.
type programKey struct {
	name     string
	constant uint32
}

// constants are the programs' own: octets of the link header, and how many queues there are.
var constants = map[string]string{progEncap: "tunnel_l2_len", progDecap: "underlay_l2_len", progSteer: "queue_count"}

// Open loads the programs and takes over the maps pinned at
// <bpffs>/dmvpn/<instance>/dmvpn_*, or makes them. Pins that another version
// made with other layouts are refused.
func Open(o Options) (*Plane, error) {
	// Kernels before 5.11 account maps to the memory lock limit; no harm later.
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("loader: raise the limit of locked memory: %w", err)
	}
	spec, err := bpf.LoadDmvpn()
	if err != nil {
		return nil, fmt.Errorf("loader: read the compiled programs: %w", err)
	}
	p := &Plane{options: o, spec: spec, maps: map[string]*ebpf.Map{}, programs: map[programKey]*ebpf.Program{}}
	if err := p.open(); err != nil {
		_ = p.Close()
		return nil, fmt.Errorf("loader: %w", err)
	}
	return p, nil
}

func (p *Plane) open() error {
	if err := checkBPFFS(p.options.bpffs()); err != nil {
		return err
	}
	if err := os.MkdirAll(p.options.devices(), 0o700); err != nil {
		return fmt.Errorf("make %s: %w", p.options.devices(), err)
	}
	if err := p.sweepDevices(); err != nil {
		return err
	}
	if err := p.openMaps(); err != nil {
		return err
	}
	// Now rather than when a device comes: what the kernel refuses is known
	// before anything is half made.
	for _, key := range []programKey{{progEncap, 0}, {progDecap, ethernetHeader}, {progFilter, 0}, {progSteer, 1}} {
		if _, err := p.program(key); err != nil {
			return err
		}
	}
	var err error
	if p.events, err = ringbuf.NewReader(p.maps[tables.MapEvents]); err != nil {
		return fmt.Errorf("read %s: %w", tables.MapEvents, err)
	}
	p.Tables, err = tables.New(p.maps)
	return err
}

// openMaps takes each pinned map, or makes and pins it.
func (p *Plane) openMaps() error {
	for name, spec := range p.spec.Maps {
		if spec.Pinning != ebpf.PinByName {
			continue // the constants of a program
		}
		m, err := ebpf.NewMapWithOptions(spec, ebpf.MapOptions{PinPath: p.options.dir()})
		switch {
		case errors.Is(err, ebpf.ErrMapIncompatible):
			return fmt.Errorf("%s/%s was made by another version of dmvpnd (%w): run `dmvpn teardown` first", p.options.dir(), name, err)
		case errors.Is(err, os.ErrPermission):
			return fmt.Errorf("make map %s: the capability CAP_BPF (or CAP_SYS_ADMIN) is missing: %w", name, err)
		case err != nil:
			return fmt.Errorf("make map %s: %w", name, err)
		}
		p.maps[name] = m
	}
	return nil
}

// program gives the loaded program, which is loaded once for each value of its constant.
func (p *Plane) program(key programKey) (*ebpf.Program, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if program := p.programs[key]; program != nil {
		return program, nil
	}
	spec := p.spec.Copy()
	for name := range spec.Programs {
		if name != key.name {
			delete(spec.Programs, name)
		}
	}
	if variable, ok := constants[key.name]; ok {
		if err := spec.Variables[variable].Set(key.constant); err != nil {
			return nil, fmt.Errorf("program %s: set %s: %w", key.name, variable, err)
		}
	}
	for name := range spec.Maps {
		if p.maps[name] == nil && spec.Maps[name].Pinning != ebpf.PinNone {
			delete(spec.Maps, name)
		}
	}
	loaded, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: p.maps})
	if err != nil {
		return nil, fmt.Errorf("load program %s: %w", key.name, err)
	}
	program := loaded.DetachProgram(key.name)
	loaded.Close()
	p.programs[key] = program
	return program, nil
}

// Close gives back the descriptors; what is attached and pinned stays and runs.
// A ReadEvent that waits gives os.ErrClosed.
func (p *Plane) Close() error {
	var errs []error
	if p.events != nil {
		errs = append(errs, p.events.Close())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, program := range p.programs {
		errs = append(errs, program.Close())
	}
	for _, m := range p.maps {
		errs = append(errs, m.Close())
	}
	clear(p.programs)
	clear(p.maps)
	return errors.Join(errs...)
}
