// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"slices"

	"dmvpn/nhrpd/wire"
)

// announce says in a packet of ours that we answer Probe Requests; in a reply, if the
// request did so.
func (m *Machine) announce(p *wire.Packet, who wire.Probe, asked bool) {
	if m.cfg.Probe == 0 || !asked {
		return
	}
	own, _ := p.Private()
	own.Probe = who
	if p.SetPrivate(own) != nil {
		m.count("encode-failed")
	}
}

// asksForProbes says whether who made a request announced that it answers Probe Requests.
func asksForProbes(request *wire.Packet) bool {
	own, ok := request.Private()
	return ok && own.Probe == wire.ProbeRequester
}

// answersProbes says whether the system that made a reply announced that it answers
// Probe Requests, and we send any. A request's own word that came back is none.
func (m *Machine) answersProbes(reply *wire.Packet) bool {
	own, ok := reply.Private()
	return ok && own.Probe == wire.ProbeReplier && m.cfg.Probe > 0
}

// probeRequest answers a probe from where data is accepted, and tells nobody else
// anything.
func (m *Machine) probeRequest(in Packet, p *wire.Packet) {
	if !slices.ContainsFunc(in.From.keys(), func(key Endpoint) bool { _, ok := m.accepted.Get(key); return ok }) {
		m.drop("stranger")
		return
	}
	if p.DestinationProtocol != m.own() || p.SourceProtocol == m.own() {
		m.drop("probe-of-others")
		return
	}
	m.send(in.From, m.reply(p, wire.ProbeReply))
}

// probeReply takes the answer to a probe: from the endpoint that was asked, with an id
// that only it has seen.
func (m *Machine) probeReply(in Packet, p *wire.Packet) {
	for _, x := range m.pathsTo(in.From) {
		try := p.RequestID - x.ID
		if p.SourceProtocol == m.own() && p.DestinationProtocol == x.Protocol && try < uint32(len(x.Asked)) {
			x.RoundTrip = max(m.now-x.Asked[try], x.RoundTrip-x.RoundTrip/8)
			m.pathAnswered(x)
			return
		}
	}
	m.drop("unsolicited-reply")
}

// pathAnswered makes a path direct, and looks at it again after a while.
func (m *Machine) pathAnswered(p *path) {
	t := m.env.Traffic(p.Endpoint)
	p.Sent, p.Received = t.Sent, t.Received
	p.Asked, p.Silent, p.Answered, p.Next = nil, false, m.now, m.now+m.cfg.Probe
	m.paths.Put(p.Endpoint.Key(), p, p.Next)
	if p.State != PathDirect {
		for _, s := range m.servers {
			if s.Up && s.Bound.Is(p.Endpoint) {
				s.Reason = ""
				m.report(Info, p.Endpoint, "NHS %s answers again", s.Name)
				if s.own().Waiting {
					m.registerNow(s)
				}
			}
		}
	}
	m.setPath(p, PathDirect, "")
}

// tryPath begins to probe a path.
func (m *Machine) tryPath(p *path) {
	if !m.secure(p.Endpoint) {
		m.awaitSA(p)
		return
	}
	if p.State != PathLost {
		m.setPath(p, PathTried, "")
	}
	p.Asked, p.Silent = nil, false
	m.sendProbe(p)
}

// sendProbe sends a Probe Request, the first one of several with an id that is not to be
// guessed.
func (m *Machine) sendProbe(p *path) {
	if len(p.Asked) == 0 {
		p.ID = uint32(m.env.Random())
	}
	r := m.plain(wire.ProbeRequest, p.Protocol, p.Endpoint)
	r.RequestID = p.ID + uint32(len(p.Asked))
	p.Asked = append(p.Asked, m.now)
	p.Next = m.now + m.probePause(p)
	m.paths.Put(p.Endpoint.Key(), p, p.Next)
	m.send(p.Endpoint, r)
}

// probePause is the time after a probe until the next. Silence is judged quickly, but not
// before an answer can be here.
func (m *Machine) probePause(p *path) instant {
	if p.Silent {
		return max(m.cfg.Probe*3/4, p.RoundTrip+m.cfg.Probe/4)
	}
	return min(firstProbe<<(len(p.Asked)-1), longestProbe)
}

// probeTries is how many probes are sent before a path is given up: of one that fell silent
// few, but more with each time that this was so lately, for it may be loss.
func (m *Machine) probeTries(p *path) int {
	switch {
	case !p.Silent:
		return pathTries
	case m.now-p.Since >= pathSettled:
		return silentTries
	}
	return min(silentTries+p.Lost, mostTries)
}

// pathsDue does what is to be done about paths by now.
func (m *Machine) pathsDue() {
	for {
		_, p, ok := m.paths.Due(m.now)
		if !ok {
			return
		}
		switch {
		case !m.local.exist():
			p.Asked, p.Silent, p.Next = nil, false, m.now+firstPause
			m.paths.Put(p.Endpoint.Key(), p, p.Next)
		case p.State == PathDirect && (len(p.Asked) == 0 || p.Silent && m.heard(p)):
			m.lookAt(p)
		case len(p.Asked) == 0:
			m.tryPath(p)
		case len(p.Asked) < m.probeTries(p):
			m.sendProbe(p)
		default:
			m.losePath(p, noAnswer)
		}
	}
}

// heard says whether data came in since the last look.
func (m *Machine) heard(p *path) bool { return m.env.Traffic(p.Endpoint).Received > p.Received }

// lookAt probes a path that packets went out by and none came in, and now and then any
// path. One that carries nothing is looked at less often.
func (m *Machine) lookAt(p *path) {
	t := m.env.Traffic(p.Endpoint)
	sent, received := t.Sent > p.Sent, t.Received > p.Received
	p.Sent, p.Received = t.Sent, t.Received
	p.Asked, p.Silent = nil, sent && !received
	if p.Silent || m.cfg.ProbeIdle > 0 && m.now-p.Answered >= m.cfg.ProbeIdle {
		m.sendProbe(p)
		return
	}
	p.Next = m.now + m.cfg.Probe
	if !sent && !received {
		p.Next = m.now + restingLook*m.cfg.Probe
	}
	if m.cfg.ProbeIdle > 0 {
		p.Next = min(p.Next, p.Answered+m.cfg.ProbeIdle)
	}
	m.paths.Put(p.Endpoint.Key(), p, p.Next)
}
