// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"net/netip"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

// stage is where an IKE SA is in its life.
type stage uint8

const (
	connecting  stage = iota // our attempt, until the peer's AUTH was good
	halfOpen                 // a peer's attempt, until its AUTH was good
	established              // in use
	replaced                 // another IKE SA serves its peer; it waits for its D
	deleting                 // our D is on the way
	closed                   // gone; answers copies of the last request, and no more
)

func (s stage) String() string {
	return [...]string{"connecting", "half-open", "established", "replaced", "deleting", "closed"}[s]
}

// ikeSA is one IKE SA. Its fields are what Export writes.
type ikeSA struct {
	ID         uint64
	Origin     uint64 // ID of the first one, where this came of rekeys
	Connection string // a responder knows it from IKE_AUTH on
	Peer       uint64 // in Machine.Peers, from authentication on
	Stage      stage
	Initiator  bool // we are the original initiator
	SPIi, SPIr wire.SPI
	Local      netip.AddrPort
	Remote     netip.AddrPort

	Began, Established instant
	Choice             proposal.Choice
	Keys               *crypto.Keys
	NextIV             uint64 // never begins again, whatever becomes of Keys
	Ni                 []byte // of the accepted IKE_SA_INIT: decides between twins

	LocalID, RemoteID auth.Identity
	Group             bool
	Proof, PeerProof  Proof        // what we and the peer proved ourselves with
	Claims            *auth.Claims `json:",omitempty"` // of the peer's certificate
	Instance          [8]byte      // the peer's; zero: not our kind
	CrashToken        []byte       // the peer's (RFC 6290)
	InitialContact    bool         // it came in IKE_AUTH

	Fragmentation, MOBIKE bool
	Hashes                []wire.HashAlgorithm // the peer verifies these
	NATLocal, NATRemote   bool
	Raw                   bool // the peer wants ESP without UDP, unless there is a NAT

	Initial  *initial  // until IKE_AUTH is done
	Admitted admission // responder: until it is established or gone
	Digest   [32]byte  // of the peer's IKE_SA_INIT: a copy of it makes nothing

	Out      outgoing
	In       incoming
	Running  task // whose request is on the way
	Queue    []task
	Children []*childSA
	Chains   []*negotiation // of the peer, waiting for its IKE_FOLLOWUP_KE
	Gone     []uint32       // SPIs that the peer deleted before we knew them
	Held     *Child         // of a contested SA: not installed yet

	Successor wire.SPI // own SPI of the one that replaced this
	Crossing  wire.SPI // own SPI of the one that the peer's rekey made while ours runs
	Contest   uint64   // ID of the older SA whose end must not answer before this one counts
	Asked     instant  // since when its peer is asked whether it lives, for the sake of another
	Later     []later
	Failure   string // why our attempt failed

	RekeyAt, HardAt, ReauthAt instant
	GoneAt                    instant // then it goes without a word
	Heard                     instant // an authenticated message of the peer
	Probed                    instant // the last hint that made us look
	KeepaliveAt               instant
	TroubleSince              instant // TEMPORARY_FAILURE ever since
	// Methods of the next rekeys' KE payloads, where the peer asked for one.
	Method, ChildMethod uint16
	ChildTries          int
	RekeyTries          int
	Told                instant  // the peer was told of an unknown SPI
	Replaces            wire.SPI // SPIi of the IKE SA that this one is to replace
	Remakes             wire.SPI // the same one's own SPI, where it is we who replace it
	Remaking            bool     // a new IKE SA is being made to replace this one
	Update              uint32   // message id of the last UPDATE_SA_ADDRESSES heeded

	// What follows from the rest, or is empty between two inputs: Export leaves it out.
	timer   timer
	wants   []*want // that it serves or is to serve
	touched bool    // is in Machine.touched
}

// own is the SPI that we chose.
func (s *ikeSA) own() wire.SPI {
	if s.Initiator {
		return s.SPIi
	}
	return s.SPIr
}

// childStage is where a Child SA is in its life.
type childStage uint8

const (
	waiting   childStage = iota // inbound is open; the peer's packets do not leave by it yet
	active                      // in use
	outdated                    // a successor was made; it waits for its D
	ending                      // our D is on the way
	lingering                   // gone but for late packets that come in
)

func (s childStage) String() string {
	return [...]string{"installed", "active", "rekeyed", "deleting", "lingering"}[s]
}

// childSA is one Child SA, an inbound and an outbound SA of ESP.
type childSA struct {
	Inbound, Outbound uint32
	Stage             childStage
	Choice            proposal.Choice
	Mode              Mode
	Here, There       []wire.Selector
	Encapsulation     bool
	Made              instant
	RekeyAt, HardAt   instant
	GoneAt            instant
	Successor         uint32 // inbound SPI of what a rekey made of it
	Redundant         bool   // lost a crossing; whoever made it deletes it
	Low               []byte // lowest nonce of the CREATE_CHILD_SA that made it, if it was no rekey
	Unproven          bool   // we answered with it, and the peer may not have it yet
	Exchanged         bool   // made by CREATE_CHILD_SA, not by IKE_AUTH
	Tries             int    // of a rekey that was refused
}

// later is a task that waits for its time.
type later struct {
	At   instant
	Task task
}

// peer is one authenticated identity of a connection.
type peer struct {
	ID         uint64
	Connection string
	Identity   auth.Identity
	Up         bool
	Told       Peer       // as it was last told
	SAs        []wire.SPI // our own SPIs, in the order of their authentication
	Current    uint32     // inbound SPI of the Child SA that its packets leave by
	Reason     string     // of the last loss
	LastSwap   instant

	changed bool // is in Machine.changed
}

// want is a Connect that stands.
type want struct {
	ID      uint64
	Connect Connect
	SA      wire.SPI // own SPI of the attempt, or of the SA that fulfils it
	RetryAt instant
	Tries   int

	timer timer
}

// find gives the IKE SA with a number.
func (m *Machine) find(id uint64) *ikeSA {
	for _, s := range m.SAs {
		if s.ID == id {
			return s
		}
	}
	return nil
}

// connection is the SA's policy, nil before a responder chose one.
func (m *Machine) connection(s *ikeSA) *Connection { return m.connections[s.Connection] }

// inbound finds a Child SA by the SPI that we receive on.
func (s *ikeSA) inbound(spi uint32) *childSA {
	for _, c := range s.Children {
		if c.Inbound == spi {
			return c
		}
	}
	return nil
}

// outbound finds a Child SA by the SPI that the peer receives on.
func (s *ikeSA) outbound(spi uint32) *childSA {
	for _, c := range s.Children {
		if c.Outbound == spi && c.Stage != lingering {
			return c
		}
	}
	return nil
}

// childAnywhere finds a Child SA of any IKE SA by its inbound SPI.
func (m *Machine) childAnywhere(spi uint32) (*ikeSA, *childSA) {
	if s := m.index.inbound[spi]; s != nil {
		return s, s.inbound(spi)
	}
	return nil, nil
}
