// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"io"
	"strings"
	"time"

	"dmvpn/cmd/internal/control"
)

// ShowCryptoIKEv2SA writes `show crypto ikev2 sa` as routers do, with detailed the
// longer one.
func ShowCryptoIKEv2SA(detailed bool) func(io.Writer, time.Time, control.IKE) error {
	return func(w io.Writer, now time.Time, k control.IKE) error {
		if len(k.SAs) == 0 {
			return nil // a router says nothing
		}
		out := []string{" IPv4 Crypto IKEv2  SA", ""}
		for _, s := range k.SAs {
			out = append(out, "Tunnel-id Local                 Remote                fvrf/ivrf            Status",
				strings.TrimRight(fmt.Sprintf("%-9d %-21s %-21s %-20s %s", s.ID, slash(s.Local.String()), slash(s.Remote.String()), "none/none", status(s.State)), " "))
			if s.Encryption != "" {
				cipher, bits := cipher(s.Encryption)
				out = append(out, fmt.Sprintf("      Encr: %s, keysize: %s, PRF: %s, Hash: %s, DH Grp:%s, Auth sign: %s, Auth verify: %s",
					cipher, bits, hash(strings.TrimPrefix(s.PRF, "prf")), hash(s.Integrity), groups(s.Algorithms), proof(s.Proof), proof(s.PeerProof)))
			}
			out = append(out, fmt.Sprintf("      Life/Active Time: %d/%d sec", seconds(life(s)), seconds(now.Sub(s.Since))))
			if detailed {
				out = append(out, details(s)...)
			}
			out = append(out, "")
		}
		return lines(w, out[:len(out)-1])
	}
}

func details(s control.IKESA) []string {
	local, remote := s.SPIi, s.SPIr
	if !s.Initiator {
		local, remote = remote, local
	}
	nat := "NAT-T is not detected"
	switch {
	case s.NATLocal && s.NATRemote:
		nat = "NAT-T is detected inside and outside"
	case s.NATLocal:
		nat = "NAT-T is detected inside"
	case s.NATRemote:
		nat = "NAT-T is detected outside"
	}
	initiator := "No"
	if s.Initiator {
		initiator = "Yes"
	}
	out := []string{
		"      Status Description: " + description(s.State),
		fmt.Sprintf("      Local spi: %-22s Remote spi: %s", strings.ToUpper(local), strings.ToUpper(remote)),
		"      Local id: " + or(s.LocalID, "unknown"),
		"      Remote id: " + or(s.RemoteID, "unknown"),
		"      " + nat,
		"      Initiator of SA : " + initiator,
	}
	for _, c := range s.Children {
		out = append(out, fmt.Sprintf("      Child sa: %s - %s", strings.Join(c.Here, " "), strings.Join(c.There, " ")),
			fmt.Sprintf("          ESP spi in/out: 0x%s/0x%s", c.Inbound, c.Outbound))
	}
	return out
}

// proof writes what an end proves itself with as routers do.
func proof(word string) string { return or(strings.ToUpper(word), "Unknown") }

// slash writes an endpoint as routers do.
func slash(endpoint string) string {
	if i := strings.LastIndexByte(endpoint, ':'); i >= 0 {
		return endpoint[:i] + "/" + endpoint[i+1:]
	}
	return endpoint
}

func status(state string) string {
	switch state {
	case control.IKEEstablished:
		return "READY"
	case control.IKEDeleting, control.IKEReplaced:
		return "DELETE"
	}
	return "IN-NEG"
}

func description(state string) string {
	if state == control.IKEEstablished {
		return "Negotiation done"
	}
	return state
}

// cipher takes a word such as aes256gcm16 apart.
func cipher(word string) (name, bits string) {
	if rest, aes := strings.CutPrefix(word, "aes"); aes && len(rest) >= 3 {
		if strings.HasPrefix(rest[3:], "gcm") {
			return "AES-GCM", rest[:3]
		}
		return "AES-CBC", rest[:3]
	}
	return "CHACHA20-POLY1305", "256"
}

func hash(word string) string {
	if word == "" {
		return "None"
	}
	return strings.ToUpper(word)
}

// numbers of the key exchanges (IANA).
var numbers = map[string]string{
	"modp2048": "14", "modp3072": "15", "modp4096": "16", "ecp256": "19", "ecp384": "20", "ecp521": "21", "x25519": "31",
	"mlkem768": "36", "mlkem1024": "37",
}

func groups(a control.Algorithms) string {
	text := numbers[a.KeyExchange]
	for _, f := range a.Further {
		text += "+" + numbers[f]
	}
	return or(text, "None")
}

// life is from the beginning to the rekey.
func life(s control.IKESA) time.Duration {
	if s.Rekey.IsZero() {
		return 0
	}
	return s.Rekey.Sub(s.Since)
}

func seconds(d time.Duration) int64 { return int64(max(0, d).Round(time.Second) / time.Second) }
