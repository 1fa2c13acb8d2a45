// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"fmt"
	"strings"
	"time"
)

// Settings are what a node's configuration file says. New fills them in and
// hands them to Options.Settings, which may change them.
type Settings struct {
	LogLevel string
	Queues   int // 0: default
	Tunnels  []Tunnel
	Text     string // not "": the file itself, in place of what the other fields say
}

// A Tunnel is one [tunnel.NAME] of the file; what is zero is left out.
type Tunnel struct {
	Name           string
	Address        string   // with the prefix length
	Address2       string   // of the other family; "": none
	Key            int      // −1: none
	Underlay       string   // device
	Addresses      []string // of the underlay; none: the device's
	Mark           int
	MTU            int
	Authentication string
	Networks       []string
	HoldingTime    time.Duration
	Idle           time.Duration
	IdleBytes      int // −1: default
	Shortcut       *bool
	Redirect       *bool
	MSSClamp       *bool
	NHS            []NHS
	Keys           []string // other lines of the table itself
	IPsec          *IPsec   // nil: packets travel in clear
	Lines          []string // what else the file says, at its end
}

// IPsec is the [tunnel.NAME.ipsec] of the file.
type IPsec struct {
	Identity string
	PSKFile  string
	DPD      time.Duration // 0: default
	Lines    []string      // what else it says
}

// NHS is one [[tunnel.NAME.nhs]].
type NHS struct {
	NBMA     string
	Protocol string
	Routes   []string
	Priority int
}

// TOML writes the configuration file.
func (s Settings) TOML() string {
	if s.Text != "" {
		return s.Text
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("[daemon]")
	if s.LogLevel != "" {
		line("log-level = %q", s.LogLevel)
	}
	if s.Queues != 0 {
		line("queues = %d", s.Queues)
	}
	line("")
	for _, t := range s.Tunnels {
		line("[tunnel.%s]", t.Name)
		if t.Address2 != "" {
			line("address = %s", list([]string{t.Address, t.Address2}))
		} else {
			line("address = %q", t.Address)
		}
		if t.Key >= 0 {
			line("key = %d", t.Key)
		}
		if t.IPsec == nil {
			line("protection = \"none\"")
		}
		underlay := fmt.Sprintf("device = %q", t.Underlay)
		if t.Mark != 0 {
			underlay += fmt.Sprintf(", mark = %d", t.Mark)
		}
		if len(t.Addresses) > 0 {
			underlay += ", address = " + list(t.Addresses)
		}
		line("underlay = { %s }", underlay)
		if t.MTU != 0 {
			line("mtu = %d", t.MTU)
		}
		if t.Authentication != "" {
			line("authentication = %q", t.Authentication)
		}
		if len(t.Networks) > 0 {
			line("networks = %s", list(t.Networks))
		}
		if t.HoldingTime != 0 {
			line("holding-time = %q", t.HoldingTime)
		}
		if t.Idle != 0 {
			line("idle = %q", t.Idle)
		}
		if t.IdleBytes >= 0 {
			line("idle-bytes = %d", t.IdleBytes)
		}
		if t.Shortcut != nil {
			line("shortcut = %t", *t.Shortcut)
		}
		if t.Redirect != nil {
			line("redirect = %t", *t.Redirect)
		}
		if t.MSSClamp != nil {
			line("mss-clamp = %t", *t.MSSClamp)
		}
		for _, more := range t.Keys {
			line("%s", more)
		}
		if i := t.IPsec; i != nil {
			line("\n[tunnel.%s.ipsec]\nidentity = %q", t.Name, i.Identity)
			if i.PSKFile != "" {
				line("psk-file = %q", i.PSKFile)
			}
			if i.DPD != 0 {
				line("dpd = %q", i.DPD)
			}
			for _, more := range i.Lines {
				line("%s", more)
			}
		}
		for _, n := range t.NHS {
			line("\n[[tunnel.%s.nhs]]", t.Name)
			line("nbma = %q", n.NBMA)
			if n.Protocol != "" {
				line("protocol = %q", n.Protocol)
			}
			if len(n.Routes) > 0 {
				line("routes = %s", list(n.Routes))
			}
			if n.Priority != 0 {
				line("priority = %d", n.Priority)
			}
		}
		for _, more := range t.Lines {
			line("%s", more)
		}
		line("")
	}
	return b.String()
}

// list writes an array of strings.
func list(items []string) string {
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = fmt.Sprintf("%q", s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
