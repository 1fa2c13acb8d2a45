// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"dmvpn/loader/kernel"
)

// Place is where an unreachable route stands.
type Place struct {
	Table  int // 0: the main one
	Prefix netip.Prefix
}

func (p Place) String() string {
	if p.Table == 0 {
		return p.Prefix.String()
	}
	return fmt.Sprintf("%s table %d", p.Prefix, p.Table)
}

// holds says whether another place is in the prefix, of the same table.
func (p Place) holds(q Place) bool {
	return p.Table == q.Table && p.Prefix.Bits() <= q.Prefix.Bits() && p.Prefix.Contains(q.Prefix.Addr())
}

// line is one of the file: a place, and of whom it was learned.
type line struct {
	Place
	of Peer
}

func (l line) String() string {
	if l.of == (Peer{}) {
		return l.Place.String()
	}
	return l.Place.String() + " of " + strconv.Quote(l.of.Tunnel+" "+l.of.Name)
}

func parseLine(text string) (l line, err error) {
	place, of, learned := strings.Cut(text, " of ")
	if l.Place, err = parsePlace(place); err == nil && learned {
		of, err = strconv.Unquote(of)
		l.of.Tunnel, l.of.Name, _ = strings.Cut(of, " ")
	}
	return l, err
}

func parsePlace(text string) (p Place, err error) {
	prefix, table, other := strings.Cut(text, " table ")
	if p.Prefix, err = netip.ParsePrefix(prefix); err == nil && other {
		p.Table, err = strconv.Atoi(table)
	}
	return p, err
}

func (p Place) host(h *kernel.Host) *kernel.Host { return h.In(kernel.Table{ID: p.Table}) }

func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}

// StandsUnreachable says that routes are left for Release.
func StandsUnreachable(p Paths) bool {
	_, err := os.Stat(p.Unreachable)
	return err == nil
}

// Release removes the unreachable routes that the instance stood, but for those that
// another one of the same run directory stands as well. None is no error.
func Release(p Paths) error {
	stood, err := readUnreachable(p.Unreachable)
	if err != nil || !StandsUnreachable(p) {
		return err
	}
	others, err := filepath.Glob(filepath.Join(filepath.Dir(p.Unreachable), "*"+unreachableSuffix))
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	left := map[Place]bool{}
	for _, l := range stood {
		left[l.Place] = true
	}
	h, err := kernel.Open()
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	defer h.Close()
	for _, other := range others {
		if other == p.Unreachable {
			continue
		}
		theirs, err := readUnreachable(other)
		if err != nil {
			return err
		}
		for _, l := range theirs {
			delete(left, l.Place)
		}
	}
	for p := range left {
		if err := p.host(h).RemoveUnreachable(p.Prefix); err != nil {
			return fmt.Errorf("release: %w", err)
		}
	}
	return os.Remove(p.Unreachable)
}

// readUnreachable reads the file, but for a last line that a crash left unfinished: its
// route was not stood yet.
func readUnreachable(path string) (stood []line, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("unreachable routes of before: %w", err)
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	for b := range bytes.Lines(text) {
		l, err := parseLine(string(bytes.TrimSpace(b)))
		if err != nil {
			return nil, fmt.Errorf("unreachable routes of before: %s: %w; `ip route show table all proto 54` lists them: remove those of ours, then the file", path, err)
		}
		stood = append(stood, l)
	}
	return stood, nil
}
