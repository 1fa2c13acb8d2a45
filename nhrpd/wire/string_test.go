// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestAPacketPrintsInOneLine(t *testing.T) {
	resolution := bare(ResolutionReply)
	resolution.Flags = FlagRouter | FlagAuthoritative | FlagDestinationStable | FlagSourceStable | 0x0100
	resolution.CIEs = []CIE{
		{PrefixLength: 24, MTU: 1400, HoldingTime: 60, NBMA: spokeNBMA, Protocol: lan, Preference: 10, Subaddress: []byte{0xAB}},
		{Code: CodeNoBinding},
		{Code: 77, PrefixLength: 16},
	}
	responder, err := resolution.NewEntries(ExtensionResponderAddress, CIE{NBMA: hubNBMA, Protocol: hub})
	if err != nil {
		t.Fatal(err)
	}
	record, err := resolution.NewEntries(ExtensionForwardTransit, CIE{Protocol: hub}, CIE{Code: CodeInsufficientResources, Protocol: spoke})
	if err != nil {
		t.Fatal(err)
	}
	resolution.Extensions = []Extension{responder, record,
		NewVendor(Vendor{ID: [3]byte{0, 0, 12}, Data: []byte("\x1b[31m")}), {Type: 0x3801, Value: []byte{1}},
		{Type: 0x3802, Compulsory: true}, {Type: ExtensionReverseTransit, Value: []byte{1, 2}},
		{Type: ExtensionNATAddress, Compulsory: true}}
	if err := resolution.SetPrivate(Private{Port: 4500, Identity: "spoke1\n", MTU: 1400, Group: "branch", Probe: ProbeReplier}); err != nil {
		t.Fatal(err)
	}
	indication := bare(TrafficIndication)
	indication.DestinationProtocol = netip.MustParseAddr("10.10.1.5")
	indication.Contents = append([]byte{0x45, 8: 64, 9: 17, 12: 10, 13: 10, 14: 1, 15: 5, 16: 10, 17: 10, 18: 2, 19: 5}, 1, 2)
	indication6 := bare(TrafficIndication)
	indication6.Contents = append([]byte{0x60, 6: 58, 39: 1}, 1)
	problem := bare(ErrorIndication)
	problem.ErrorCode, problem.ErrorOffset = ErrorLoopDetected, 52
	problem.SourceSubaddress = []byte{1}
	problem.Contents = marshal(t, registration(t))
	short := bare(ErrorIndication)
	for _, c := range []struct {
		packet *Packet
		want   string
	}{
		{registration(t), "Registration Request id 1 flags unique,nat hop 255 from 10.0.0.11 (198.51.100.11) to 10.0.0.1; " +
			"success hold 7200 mtu 1400; Responder Address; Forward Transit NHS Record; Reverse Transit NHS Record; " +
			"NAT Address; Authentication [cisco spi 1, 8 octets]"},
		{resolution, "Resolution Reply id 16909060 flags router,authoritative,destination-stable,source-stable,0x0100 " +
			"hop 255 from 10.0.0.11 (198.51.100.11) to 10.0.0.1; " +
			"success 10.10.1.0/24 nbma 198.51.100.11 sub ab hold 60 mtu 1400 preference 10; no binding exists; code 77 /16; " +
			"Responder Address [10.0.0.1 nbma 192.0.2.1]; " +
			"Forward Transit NHS Record [10.0.0.1, insufficient resources 10.0.0.11]; " +
			"Vendor Private [vendor 00000c, 5 octets]; extension 0x3801 optional [1 octets]; " +
			"extension 0x3802 compulsory [0 octets]; Reverse Transit NHS Record optional [2 octets] malformed; " +
			"NAT Address compulsory; Vendor Private [dmvpn port 4500 identity \"spoke1\\n\" mtu 1400 group \"branch\" replier answers probes]"},
		{bare(PurgeRequest), "Purge Request id 16909060 hop 255 from 10.0.0.11 (198.51.100.11) to 10.0.0.1; success 10.10.1.0/24"},
		{indication, "Traffic Indication hop 255 from 10.0.0.11 (198.51.100.11) to 10.10.1.5 about 10.10.1.5 → 10.10.2.5 protocol 17"},
		{indication6, "Traffic Indication hop 255 from 10.0.0.11 (198.51.100.11) to 10.0.0.1 about :: → ::1 protocol 58"},
		{problem, "Error Indication loop detected at octet 52 hop 255 from 10.0.0.11 (198.51.100.11 sub 01) to 10.0.0.1 " +
			"about Registration Request id 1 flags unique,nat hop 255 from 10.0.0.11 (198.51.100.11) to 10.0.0.1"},
		{short, "Error Indication error 0 at octet 0 hop 255 from 10.0.0.11 (198.51.100.11) to 10.0.0.1 about 4 octets"},
		{bare(ProbeRequest), "Probe Request id 16909060 hop 255 from 10.0.0.11 (198.51.100.11) to 10.0.0.1"},
		{&Packet{Type: 99}, "type 99 id 0 hop 0 from - (-) to -"},
	} {
		if got := c.packet.String(); got != c.want {
			t.Errorf("prints as\n%s, want\n%s", got, c.want)
		}
	}
}

func TestAPacketPrintsOverSeveralLines(t *testing.T) {
	want := `NHRP Registration Request, 88 octets
  address family 1, protocol type 0x0800, hop count 255
  request id 1, flags 0x8002 (unique,nat)
  source NBMA address 198.51.100.11
  source protocol address 10.0.0.11
  destination protocol address 10.0.0.1
  client success hold 7200 mtu 1400
  Responder Address
  Forward Transit NHS Record
  Reverse Transit NHS Record
  NAT Address
  Authentication [cisco spi 1, 8 octets]
`
	if got := fmt.Sprintf("%+v", registration(t)); got != want {
		t.Errorf("prints as\n%s, want\n%s", got, want)
	}
	p := bare(ErrorIndication)
	p.ErrorCode, p.ErrorOffset, p.SNAP, p.SourceSubaddress = ErrorProtocolError, 12, [5]byte{1}, []byte{9}
	p.Extensions, p.Trailer = []Extension{}, make([]byte, 16)
	want = `NHRP Error Indication, 65 octets
  address family 1, protocol type 0x0800, hop count 255
  SNAP 0100000000
  code 7 (protocol error), offset 12
  source NBMA address 198.51.100.11
  source subaddress 09
  source protocol address 10.0.0.11
  destination protocol address 10.0.0.1
  contents 4 octets: 4 octets
  16 octets after the end mark
`
	if got := p.Dump(); got != want {
		t.Errorf("prints as\n%s, want\n%s", got, want)
	}
}

// AU-07: no verb, no JSON shows a secret, in whatever holds it.
func TestNoOutputShowsASecret(t *testing.T) {
	p := registration(t)
	e := p.Extension(ExtensionAuthentication)
	a, err := e.Authentication()
	if err != nil {
		t.Fatal(err)
	}
	problem := bare(ErrorIndication)
	problem.Contents = marshal(t, p)
	var out strings.Builder
	for _, value := range []any{p, *p, e, *e, p.Extensions, a, &a, struct{ P *Packet }{p}, problem, *problem} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
		b, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	for _, secret := range []string{"test1234", "7465737431323334", "74 65 73 74 31", "116 101 115", "dGVzdDEyMzQ", "0x74, 0x65"} {
		if strings.Contains(strings.ToLower(out.String()), strings.ToLower(secret)) {
			t.Errorf("%q is shown", secret)
		}
	}
}

func TestEveryNameIsOfItsOwn(t *testing.T) {
	seen := map[string]bool{}
	add := func(name string) {
		if name == "" || seen[name] {
			t.Errorf("the name %q comes twice", name)
		}
		seen[name] = true
	}
	for i := range 256 {
		add(Type(i).String())
		add("CIE " + Code(i).String())
		add("error " + ErrorCode(i).String())
		add(ExtensionType(i).String())
	}
}

func TestEveryCodeButSuccessIsARefusal(t *testing.T) { // RR-03
	for i := range 256 {
		if Code(i).NAK() != (i != 0) {
			t.Errorf("%v", Code(i))
		}
	}
}
