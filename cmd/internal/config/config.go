// SPDX-License-Identifier: Apache-2.0

// Package config reads the operator's file: TOML in which every unknown key is
// refused and every error names file, line, column and remedy. It looks at
// nothing but the file; whether a device exists is found out when it is used.
package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// Config is a whole file with the defaults filled in.
type Config struct {
	File    string
	Daemon  Daemon
	Tunnels []Tunnel // in the order of their names
	// Warnings are what is allowed and better written otherwise.
	Warnings Errors
}

// Daemon is the table [daemon].
type Daemon struct {
	Instance string // names run directory and pins, so that several daemons share a machine
	RunDir   string
	BPFFS    string
	LogLevel string // one of LogLevels
	Queues   int    // of each tunnel's device, with a worker each; 1 to MaxQueues
}

// Tunnel is one table [tunnel.NAME]: one mGRE cloud.
type Tunnel struct {
	Name           string         // of the device
	Addresses      []netip.Prefix // ours in the overlay, one of a family, with the cloud's prefix length
	Key            uint32         // GRE key, host order; meaningful with HasKey
	HasKey         bool
	Underlay       Underlay
	VRF            string // that the device is in; "": none
	Table          int    // where its routes stand; 0: the VRF's, or the main one
	MTU            int    // of the tunnel device; 0: from the underlay's
	Authentication string
	Networks       []netip.Prefix
	Guard          []netip.Prefix // what else only this tunnel may lead to
	Redirect       bool
	Shortcut       bool
	Summaries      []netip.Prefix // answered in place of the routed prefix
	HoldingTime    time.Duration  // whole seconds
	Idle           time.Duration
	IdleBytes      uint64
	Probe          time.Duration // 0: never
	ProbeIdle      time.Duration // at least so often; 0: never
	Group          string        // "": none
	Unique         bool
	MSSClamp       bool
	Multicast      Multicast
	IfState        bool   // the carrier follows the servers
	IPsec          *IPsec // nil: none
	Protected      bool   // by IPsec; false: packets travel in clear
	NHS            []NHS
	Maps           []Map
	MaxConnections int             // servers of a cluster that are registered with; 0: all
	Fallback       time.Duration   // that a server which failed must answer before it is used again
	Authorize      []Authorization // none: each identity registers what no other one holds
}

// NHS is one [[tunnel.NAME.nhs]].
type NHS struct {
	NBMA      string       // address or DNS name
	Protocols []netip.Addr // one of each family that it serves; none: dynamic, learned from the server
	Routes    []netip.Prefix
	Priority  int // lower is better
	Cluster   int // of servers that stand for each other
}

// Map is one [[tunnel.NAME.map]]: a peer that need not register.
type Map struct{ Protocol, NBMA netip.Addr }

// Authorization is one [[tunnel.NAME.authorize]]: what the identities that fit a pattern
// may register. The first one that fits counts.
type Authorization struct {
	Peer        string         // a pattern, as ikev2/auth reads it
	Certificate bool           // the peer's certificate names its overlay addresses and prefixes
	Addresses   []netip.Prefix // that hold their overlay addresses; none: whichever is free
	Networks    []netip.Prefix // that hold the prefixes they serve; none: any
}

// Defaults of what the file leaves out.
const (
	DefaultInstance    = "default"
	DefaultRunDir      = "/run/dmvpn"
	DefaultBPFFS       = "/sys/fs/bpf"
	DefaultLogLevel    = "info"
	DefaultHoldingTime = 7200 * time.Second
	DefaultIdle        = 5 * time.Minute
	DefaultIdleBytes   = 16384
	DefaultProbe       = 200 * time.Millisecond
	DefaultProbeIdle   = 30 * time.Second
)

// Load reads a file. An error in its content is of type Errors; one of reading
// it is the system's.
func Load(file string) (*Config, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w; name the file with -c FILE", err)
	}
	return Parse(file, content)
}

// Parse reads a file's content; file is for the errors, which are of type Errors.
func Parse(file string, content []byte) (*Config, error) {
	root, err := open(file, content)
	if err != nil {
		return nil, err
	}
	doc := root.doc
	c := &Config{File: file}
	c.Daemon = readDaemon(root)
	defaults := defaultIPsec()
	own := readIPsec(root, defaults)
	if own != nil {
		defaults = *own
	}
	c.Tunnels = readTunnels(root, defaults, own != nil)
	root.done()
	if own != nil && !slices.ContainsFunc(c.Tunnels, func(t Tunnel) bool { return t.IPsec != nil }) {
		doc.fail(doc.places.keys["ipsec"], "ipsec", "no tunnel uses it", "leave protection out of a tunnel, or write [tunnel.NAME.ipsec]")
	}
	if len(doc.errors) == 0 {
		doc.checkConflicts(c)
	}
	if err := doc.result(); err != nil {
		return nil, err
	}
	doc.warnings.sort()
	c.Warnings = doc.warnings
	return c, nil
}

// open gives the whole document as a table.
func open(file string, content []byte) (*table, error) {
	var values map[string]any
	if err := toml.Unmarshal(content, &values); err != nil {
		return nil, syntaxError(file, err)
	}
	return &table{doc: &document{file: file, places: locate(content)}, values: values}, nil
}

// result is what is wrong, nil if nothing is.
func (d *document) result() error {
	if len(d.errors) == 0 {
		return nil
	}
	d.errors.sort()
	// What several tunnels have from [ipsec] is wrong once.
	return slices.Compact(d.errors)
}

func syntaxError(file string, err error) error {
	var bad *toml.DecodeError
	if !errors.As(err, &bad) {
		return Errors{{File: file, Line: 1, Column: 1, What: err.Error(), Remedy: "write valid TOML"}}
	}
	line, column := bad.Position()
	return Errors{{File: file, Line: line, Column: column,
		What: "not TOML: " + strings.TrimPrefix(bad.Error(), "toml: "), Remedy: "one KEY = VALUE a line, strings in double quotes"}}
}
