# SPDX-License-Identifier: Apache-2.0
#
# make demo       the story, from nothing, in network namespaces
# make test       every test of this machine's kernel
# make test-vm    on Debian's 6.1 kernel, with FRR as the peer (LAB=DIR names the lab)
# make interop-ike  IKE against the real strongSwan, in the lab's VM (SCENARIOS="psk nat")
# make interop-esp  the whole daemon and a router of strongSwan and FRR, in the lab's VM (SCENARIOS="udp")
# make bench      CPU time per packet and Gbit/s per core, beside plain forwarding and other
#                 encrypted tunnels (BENCH="-only tunnels")
# make fuzz       every fuzz target, FUZZTIME each
# make mutations  a million mutated messages of each IKE exchange against a live responder
# make lint       gofmt, vet, staticcheck, clang-format, import rules
# make generate   compile the BPF programs again (clang-19)
# make install    to DESTDIR/PREFIX
#
# Root is needed for namespaces and BPF: what needs it is run by sudo for others.

PREFIX   ?= /usr/local
FUZZTIME ?= 60s
MUTATIONS ?= 1000000
LAB      ?= ../shared/lab
GO       ?= go

export PATH := $(PATH):/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin
root := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E env PATH="$$PATH")

programs := dmvpnd dmvpn dmvpn-lab

.PHONY: all build demo test test-vm interop-ike interop-esp bench fuzz mutations generate lint install clean
all: build

# Static, so that the same files run in the test VM and on any distribution.
build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ $(addprefix ./cmd/,$(programs))

demo: build
	@tools/setup
	$(root) bin/dmvpn-lab demo

test: build
	@tools/setup test
	$(GO) test -count=1 -timeout 20m $(if $(root),-exec '$(root)') ./...

test-vm: build
	@tools/setup vm
	LAB="$(LAB)" tools/vmtest/run

interop-ike:
	@tools/setup interop
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/internal/interop ./cmd/internal/ikepeer
	$(root) env LAB="$(LAB)" tools/interop/run $(SCENARIOS)

interop-esp: build
	@tools/setup interop vm
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/internal/interop
	$(root) env LAB="$(LAB)" tools/interop/run -esp $(SCENARIOS)

bench: build
	@tools/setup run rivals
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/internal/bench
	wireguard=$$(tools/wireguard-go) && strongswan=$$($(root) tools/interop/root trixie) && \
	$(root) bin/bench -wireguard "$$wireguard" -strongswan "$$strongswan" $(BENCH)

fuzz:
	FUZZTIME="$(FUZZTIME)" tools/fuzz

mutations:
	IKE_MUTATIONS="$(MUTATIONS)" $(GO) test -count=1 -timeout 3h -v -run TestMutatedMessages ./ikev2/sa

generate:
	@tools/setup generate
	$(GO) generate ./bpf/...

lint:
	@tools/setup lint
	tools/lint

install: build
	install -D -m 755 -t "$(DESTDIR)$(PREFIX)/sbin" bin/dmvpnd
	install -D -m 755 -t "$(DESTDIR)$(PREFIX)/bin" bin/dmvpn
	install -D -m 644 -t "$(DESTDIR)$(PREFIX)/share/doc/dmvpn" README.md LICENSE packaging/*.toml
	install -D -m 644 -t "$(DESTDIR)$(PREFIX)/share/doc/dmvpn/docs" docs/*.md docs/*.svg
	install -D -m 644 -t "$(DESTDIR)$(PREFIX)/share/doc/dmvpn/docs/examples/routing" docs/examples/routing/*
	install -D -m 644 -t "$(DESTDIR)$(PREFIX)/share/doc/dmvpn/docs/examples/vrf" docs/examples/vrf/*
	install -d "$(DESTDIR)$(PREFIX)/lib/systemd/system"
	for unit in dmvpnd dmvpn-guard; do \
	    sed 's|@sbindir@|$(PREFIX)/sbin|; s|@docdir@|$(PREFIX)/share/doc/dmvpn|' packaging/$$unit.service >"$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit.service" || exit; done
	install -d -m 750 "$(DESTDIR)/etc/dmvpn"

clean:
	rm -rf bin
	$(GO) clean -testcache
