// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"

	"github.com/vishvananda/netlink"
)

// warmUp gives the kernel an SA for every algorithm that the trials use, and leaves
// it there: the first one makes it look for modules, for seconds in an emulated
// machine, and again whenever none is left.
func warmUp() error {
	key := make([]byte, 64)
	for i, s := range []netlink.XfrmState{
		{Aead: &netlink.XfrmStateAlgo{Name: "rfc4106(gcm(aes))", Key: key[:20], ICVLen: 128}},
		{Aead: &netlink.XfrmStateAlgo{Name: "rfc4106(gcm(aes))", Key: key[:36], ICVLen: 128}},
		{Aead: &netlink.XfrmStateAlgo{Name: "rfc7539esp(chacha20,poly1305)", Key: key[:36], ICVLen: 128}},
		{Crypt: &netlink.XfrmStateAlgo{Name: "cbc(aes)", Key: key[:16]}, Auth: &netlink.XfrmStateAlgo{Name: "hmac(sha256)", Key: key[:32], TruncateLen: 128}},
		{Crypt: &netlink.XfrmStateAlgo{Name: "cbc(aes)", Key: key[:32]}, Auth: &netlink.XfrmStateAlgo{Name: "hmac(sha384)", Key: key[:48], TruncateLen: 192}},
		{Crypt: &netlink.XfrmStateAlgo{Name: "cbc(aes)", Key: key[:32]}, Auth: &netlink.XfrmStateAlgo{Name: "hmac(sha512)", Key: key[:64], TruncateLen: 256}},
	} {
		s.Src, s.Dst = net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 2)
		s.Proto, s.Mode, s.Spi = netlink.XFRM_PROTO_ESP, netlink.XFRM_MODE_TRANSPORT, 0x1000+i
		if err := netlink.XfrmStateAdd(&s); err != nil {
			return fmt.Errorf("an SA in this kernel: %w: run this in the lab's VM, with tools/interop/run", err)
		}
	}
	return nil
}

// tun makes the module's device file, which nobody has made that would load it on demand.
func tun() error {
	if _, err := os.Stat("/dev/net/tun"); err == nil {
		return nil
	}
	if out, err := exec.Command("modprobe", "tun").CombinedOutput(); err != nil {
		return fmt.Errorf("modprobe tun: %w: %s", err, out)
	}
	return nil
}
