// SPDX-License-Identifier: Apache-2.0

package nhrpd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// stateVersion is the layout of the file; what a tunnel's machine exports has a
// version of its own.
const stateVersion = 1

// A StateFile is State in one file for all tunnels of a daemon. It is written
// beside its place and renamed, so that a reader or a crash never finds half of
// it. Its methods are safe for concurrent use; one process may use the file.
type StateFile struct {
	path string

	mu      sync.Mutex
	tunnels map[string]json.RawMessage
}

type stateContent struct {
	Version int                        `json:"version"`
	Tunnels map[string]json.RawMessage `json:"tunnels"`
}

// OpenState reads the file. One that is not there is empty; one that cannot be
// understood is an error, and the StateFile is usable and empty all the same.
func OpenState(path string) (*StateFile, error) {
	f := &StateFile{path: path, tunnels: map[string]json.RawMessage{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, fmt.Errorf("nhrp: state: %w", err)
	}
	var content stateContent
	if err := json.Unmarshal(text, &content); err != nil {
		return f, fmt.Errorf("nhrp: state %s: %w", path, err)
	}
	if content.Version != stateVersion {
		return f, fmt.Errorf("nhrp: state %s: version %d, this program knows %d", path, content.Version, stateVersion)
	}
	if content.Tunnels != nil {
		f.tunnels = content.Tunnels
	}
	return f, nil
}

// Load implements State.
func (f *StateFile) Load(tunnel string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tunnels[tunnel], nil
}

// Save implements State.
func (f *StateFile) Save(tunnel string, state []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if state == nil {
		delete(f.tunnels, tunnel)
	} else {
		f.tunnels[tunnel] = state
	}
	text, err := json.Marshal(stateContent{stateVersion, f.tunnels})
	if err != nil {
		return fmt.Errorf("nhrp: state of %s: %w", tunnel, err)
	}
	if err := replace(f.path, text); err != nil {
		return fmt.Errorf("nhrp: state: %w", err)
	}
	return nil
}

// Keep forgets every tunnel that is not named, with the next Save.
func (f *StateFile) Keep(named func(tunnel string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for tunnel := range f.tunnels {
		if !named(tunnel) {
			delete(f.tunnels, tunnel)
		}
	}
}

// replace writes a file of mode 0600 in one step. The name beside it is always
// the same, so that one that a killed process left is written over.
func replace(path string, text []byte) error {
	beside := path + ".new"
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(beside, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	return nil
}

// restore gives the machine what was saved last.
func (s *Service) restore(now time.Time) {
	state, err := s.config.State.Load(s.config.StateName)
	if err == nil && state == nil {
		return
	}
	if err == nil {
		err = s.machine.Import(now, state)
	}
	if err != nil {
		s.log.Warn().Err(err).Msg("saved state not taken up: peers stay for now and are expected to register again")
		return
	}
	s.machine.SkipIDs()
	s.log.Info().Msg("saved state taken up")
}

// beginSave writes what the machine exports, beside the loop: the disk may be
// slow. Exporting takes longer the more there is: the next one waits twenty
// times as long, so that it never takes more than a twentieth of the loop's time.
func (s *Service) beginSave() {
	s.dirty, s.saving = false, true
	begin := time.Now()
	state := s.machine.Export()
	s.saveAt = begin.Add(max(saveDelay, 20*time.Since(begin)))
	go func() { s.saved <- s.config.State.Save(s.config.StateName, state) }()
}

func (s *Service) endSave(now time.Time, err error) {
	s.saving = false
	if err == nil {
		s.counters.saves.Add(1)
		return
	}
	s.log.Error().Err(err).Msg("state is not saved: a restart would forget what has changed since")
	s.dirty, s.saveAt = !s.withdrawn, now.Add(failedDelay)
}

// lastSave is the one at the end, which is waited for.
func (s *Service) lastSave() error {
	if s.saving {
		s.endSave(time.Now(), <-s.saved)
	}
	if !s.dirty {
		return nil
	}
	if err := s.config.State.Save(s.config.StateName, s.machine.Export()); err != nil {
		return err
	}
	s.counters.saves.Add(1)
	return nil
}
