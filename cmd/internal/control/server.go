// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"
)

// A Source answers the requests. Its methods are called concurrently; the
// context ends with the request or its time limit.
type Source interface {
	Status(context.Context) (Status, error)
	Peers(context.Context) ([]Peer, error)
	NHRP(context.Context) ([]Entry, error)
	NHS(context.Context) ([]NHS, error)
	Shortcuts(context.Context) ([]Shortcut, error)
	Stats(context.Context) (Stats, error)
	Drops(context.Context) ([]Drop, error)
	Multicast(context.Context) ([]Multicast, error)
	NHRPCounters(context.Context) ([]NHRPCounters, error)
	IKESource
	// ClearShortcuts ends the shortcuts that share addresses with one of the prefixes, and the negative
	// entries inside of them, without prefixes all; of one tunnel, or of all if it is "". What
	// nothing answers to is an error, and then nothing is ended.
	ClearShortcuts(ctx context.Context, tunnel string, within []netip.Prefix) (Cleared, error)
	// Stop begins the end of the daemon and returns; the data plane stays.
	Stop(context.Context) error
	// Teardown removes the data plane, with release the unreachable routes under what was
	// protected too, then is Stop.
	Teardown(ctx context.Context, release bool) error
}

// Time limits of a connection.
const (
	headerTime   = 2 * time.Second
	requestTime  = 10 * time.Second // a Source has this long to answer
	teardownTime = 30 * time.Second
	idleTime     = 30 * time.Second
)

// A Server serves the API on a unix socket.
type Server struct {
	http     *http.Server
	listener net.Listener
	path     string
}

// Listen makes the socket with mode 0660 and takes the place of one that a dead
// daemon left: the caller holds the instance's lock. Serve answers with the api,
// which Handler or IKEHandler gives.
func Listen(path string, api http.Handler) (*Server, error) {
	if len(path) >= 108 {
		return nil, fmt.Errorf("control socket %s: the path is longer than the 107 octets that the kernel takes; choose a shorter run-dir", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
	}
	return &Server{
		path: path, listener: limit(l, maxConnections),
		http: &http.Server{
			Handler: api, ReadHeaderTimeout: headerTime, ReadTimeout: requestTime,
			WriteTimeout: teardownTime + requestTime, IdleTimeout: idleTime, MaxHeaderBytes: 8 << 10,
		},
	}, nil
}

// Serve answers until Close. It returns nil then.
func (s *Server) Serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control socket %s: %w", s.path, err)
	}
	return nil
}

// Close lets what is being answered end, for a second at most, and removes the
// socket.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}

// Handler is the API without its socket.
func Handler(source Source) http.Handler {
	mux := http.NewServeMux()
	get(mux, "status", source.Status)
	get(mux, "peers", source.Peers)
	get(mux, "nhrp", source.NHRP)
	get(mux, "nhs", source.NHS)
	get(mux, "shortcuts", source.Shortcuts)
	get(mux, "stats", source.Stats)
	get(mux, "drops", source.Drops)
	get(mux, "multicast", source.Multicast)
	get(mux, "nhrp/counters", source.NHRPCounters)
	addIKE(mux, source)
	addClear(mux, source)
	post(mux, "stop", requestTime, source.Stop)
	handleWith(mux, "teardown", http.MethodPost, teardownTime, func(ctx context.Context, q url.Values) (any, error) {
		release, err := truth(q, "release")
		if err := errors.Join(known(q, "release"), err); err != nil {
			return nil, err
		}
		return struct{}{}, source.Teardown(ctx, release)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		write(w, http.StatusNotFound, Failure{fmt.Sprintf("there is no %s; ask for /v1/status, peers, nhrp, nhs, shortcuts, stats, drops, multicast or ike", r.URL.Path)})
	})
	return mux
}

func get[T any](mux *http.ServeMux, name string, answer func(context.Context) (T, error)) {
	handle(mux, name, http.MethodGet, requestTime, func(ctx context.Context) (any, error) { return answer(ctx) })
}

func post(mux *http.ServeMux, name string, limit time.Duration, do func(context.Context) error) {
	handle(mux, name, http.MethodPost, limit, func(ctx context.Context) (any, error) { return struct{}{}, do(ctx) })
}

func handle(mux *http.ServeMux, name, method string, limit time.Duration, answer func(context.Context) (any, error)) {
	handleWith(mux, name, method, limit, func(ctx context.Context, _ url.Values) (any, error) { return answer(ctx) })
}

// handleWith hands the request's parameters on.
func handleWith(mux *http.ServeMux, name, method string, limit time.Duration, answer func(context.Context, url.Values) (any, error)) {
	mux.HandleFunc("/v1/"+name, func(w http.ResponseWriter, r *http.Request) {
		// A HEAD is a GET whose body net/http leaves out.
		if r.Method != method && (method != http.MethodGet || r.Method != http.MethodHead) {
			w.Header().Set("Allow", method)
			write(w, http.StatusMethodNotAllowed, Failure{fmt.Sprintf("%s /v1/%s: use %s", r.Method, name, method)})
			return
		}
		// No request has a body that means anything: one that is sent is bounded.
		if _, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxRequest)); err != nil {
			write(w, http.StatusRequestEntityTooLarge, Failure{fmt.Sprintf("/v1/%s takes no body", name)})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		value, err := answer(ctx, r.URL.Query())
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			write(w, http.StatusServiceUnavailable, Failure{fmt.Sprintf("/v1/%s: no answer within %v", name, limit)})
		case errors.As(err, new(badRequest)):
			write(w, http.StatusBadRequest, Failure{err.Error()})
		case err != nil:
			write(w, http.StatusInternalServerError, Failure{err.Error()})
		default:
			write(w, http.StatusOK, value)
		}
	})
}

// write encodes before the status goes out, so that a failure can still say so.
func write(w http.ResponseWriter, status int, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// Who has gone away does not miss the rest.
	_, _ = w.Write(append(text, '\n'))
}
