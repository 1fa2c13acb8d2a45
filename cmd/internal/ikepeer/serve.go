// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"dmvpn/cmd/internal/config"
	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/ike"
	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// connectionName is of the one connection that there is.
const connectionName = "peer"

// serve runs until a signal.
func serve(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	level, err := zerolog.ParseLevel(o.level)
	if err != nil {
		return err
	}
	log := zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr, NoColor: true, TimeFormat: "15:04:05.000"}).Level(level).With().Timestamp().Logger()
	zerolog.TimeFieldFormat = time.RFC3339Nano
	c, err := o.connection()
	if err != nil {
		return err
	}
	local, err := netip.ParseAddr(o.local)
	if err != nil {
		return fmt.Errorf("--local: %w", err)
	}
	if o.runDir == "" {
		if o.runDir, err = os.MkdirTemp("", "ikepeer"); err != nil {
			return err
		}
		defer os.RemoveAll(o.runDir)
	}
	if o.socket == "" {
		o.socket = filepath.Join(o.runDir, "control.sock")
	}
	installer, inKernel, err := chooseInstaller(o.installer, log)
	if err != nil {
		return err
	}
	failed := make(chan error, 8)
	p := newPeers(local, log)
	if o.identity != "" {
		if p.identity, err = auth.ParseIdentity(o.identity); err != nil {
			return err
		}
	}
	p.ike = ike.New(ike.Config{
		Connections: []*sa.Connection{c}, Installer: installer, CrashSecret: filepath.Join(o.runDir, "crash-secret"),
		Handler: p, KernelESP: inKernel, Failed: func(err error) { failed <- err }, Log: log,
	})
	if err := p.ike.Listen(ike.Endpoint{Address: local, Device: o.device}); err != nil {
		return err
	}
	if x, ok := installer.(*xfrm); ok {
		defer x.close()
		x.follow(p.ike.Service().Put)
	}
	api := control.IKEHandler(p.ike)
	api.HandleFunc("POST /v1/ike/connect", p.serveConnect)
	server, err := control.Listen(o.socket, api)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve() }()
	for _, host := range o.connect {
		p.want(host)
	}
	log.Info().Str("socket", o.socket).Bool("kernel_esp", inKernel).Msg("ready")
	var end error
	ran := make(chan struct{})
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { defer close(ran); p.ike.Run(run) }()
	select {
	case <-ctx.Done():
	case end = <-failed:
	case end = <-served:
	}
	cancel()
	<-ran
	log.Info().Err(end).Msg("stopped")
	return errors.Join(end, server.Close())
}

// connection reads the file.
func (o options) connection() (*sa.Connection, error) {
	content, err := os.ReadFile(o.file)
	if err != nil {
		return nil, err
	}
	s, err := config.ParseIPsec(o.file, content)
	if err != nil {
		return nil, err
	}
	c, err := ike.Connection(connectionName, &s, time.Now())
	if err != nil {
		return nil, err
	}
	c.PassiveIKE = o.passive
	if o.passive {
		c.Lifetimes.ChildSoft, c.Lifetimes.SoftBytes, c.Lifetimes.SoftPackets = 0, 0, 0
	}
	if c.Here, err = selectors(o.here); err != nil {
		return nil, err
	}
	c.There, err = selectors(o.there)
	return c, err
}

// selectors reads PREFIX or PREFIX:PROTOCOL.
func selectors(list []string) (all []wire.Selector, err error) {
	for _, text := range list {
		prefix, protocol, given := text, "", false
		if slash := strings.LastIndexByte(text, '/'); slash >= 0 { // IPv6 has colons before it
			var length string
			length, protocol, given = strings.Cut(text[slash:], ":")
			prefix = text[:slash] + length
		}
		s := wire.Selector{Type: wire.SelectorIPv4, EndPort: 65535}
		if given {
			n, err := strconv.ParseUint(protocol, 10, 8)
			if err != nil {
				return nil, fmt.Errorf("selector %q: %w", text, err)
			}
			s.Protocol = uint8(n)
		}
		p, err := netip.ParsePrefix(prefix)
		if err != nil {
			return nil, fmt.Errorf("selector %q is no prefix", text)
		}
		if p.Addr().Is6() {
			s.Type = wire.SelectorIPv6
		}
		s.Start = p.Masked().Addr()
		s.End = last(p.Masked())
		all = append(all, s)
	}
	return all, nil
}
