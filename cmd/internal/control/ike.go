// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// IKESource answers the requests about IKE. peer is an identity, an address with or
// without a port, or a number.
type IKESource interface {
	IKE(context.Context) (IKE, error)
	// Rekey begins to rekey the IKE SA of a peer or, with child, its Child SAs.
	IKERekey(ctx context.Context, peer string, child bool) (IKEDone, error)
	// Terminate deletes them.
	IKETerminate(ctx context.Context, peer string, child bool) (IKEDone, error)
	// Trace calls each with the messages of a peer, or of all if it is empty: those that
	// are kept, and with follow those that come, until ctx ends or each fails.
	IKETrace(ctx context.Context, peer string, follow bool, each func(IKELine) error) error
}

// lineTime is how long a reader of the trace may take for one line.
const lineTime = 5 * time.Second

// IKEHandler is the part of the API that is about IKE, for programs that do
// nothing else.
func IKEHandler(source IKESource) *http.ServeMux {
	mux := http.NewServeMux()
	addIKE(mux, source)
	return mux
}

func addIKE(mux *http.ServeMux, source IKESource) {
	get(mux, "ike", source.IKE)
	order(mux, "ike/rekey", source.IKERekey)
	order(mux, "ike/terminate", source.IKETerminate)
	mux.HandleFunc("/v1/ike/trace", func(w http.ResponseWriter, r *http.Request) { serveTrace(w, r, source) })
}

// order is a POST with the parameters peer and child.
func order(mux *http.ServeMux, name string, do func(context.Context, string, bool) (IKEDone, error)) {
	handleWith(mux, name, http.MethodPost, requestTime, func(ctx context.Context, q url.Values) (any, error) {
		if err := known(q, "peer", "child"); err != nil {
			return nil, err
		}
		child, err := truth(q, "child")
		if err != nil {
			return nil, err
		}
		if q.Get("peer") == "" {
			return nil, badRequest{errors.New("peer is missing: ?peer= and an identity, an address or a number")}
		}
		return do(ctx, q.Get("peer"), child)
	})
}

// badRequest is an error of the asker's.
type badRequest struct{ error }

// known refuses parameters that mean nothing.
func known(q url.Values, names ...string) error {
	for name := range q {
		found := false
		for _, n := range names {
			found = found || n == name
		}
		if !found {
			return badRequest{fmt.Errorf("there is no parameter %q, only %q", name, names)}
		}
	}
	return nil
}

func truth(q url.Values, name string) (bool, error) {
	text := q.Get(name)
	if text == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		return false, badRequest{fmt.Errorf("%s=%s is neither true nor false", name, text)}
	}
	return b, nil
}

// serveTrace writes one JSON object a line, until the reader goes away.
func serveTrace(w http.ResponseWriter, r *http.Request, source IKESource) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		write(w, http.StatusMethodNotAllowed, Failure{fmt.Sprintf("%s /v1/ike/trace: use GET", r.Method)})
		return
	}
	q := r.URL.Query()
	follow, err := truth(q, "follow")
	if err = errors.Join(err, known(q, "peer", "follow")); err != nil {
		write(w, http.StatusBadRequest, Failure{err.Error()})
		return
	}
	c := http.NewResponseController(w)
	// The server's limits are for requests that are answered at once.
	if err := errors.Join(c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Time{})); err != nil {
		write(w, http.StatusInternalServerError, Failure{err.Error()})
		return
	}
	begun := false
	begin := func() error {
		begun = true
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.WriteHeader(http.StatusOK)
		return c.Flush()
	}
	err = source.IKETrace(r.Context(), q.Get("peer"), follow, func(l IKELine) error {
		if err := c.SetWriteDeadline(time.Now().Add(lineTime)); err != nil {
			return err
		}
		if !begun {
			if err := begin(); err != nil {
				return err
			}
		}
		if l.Message == "" {
			return nil // a sign that the reading has begun
		}
		if err := json.NewEncoder(w).Encode(l); err != nil {
			return err
		}
		return c.Flush()
	})
	switch {
	case begun:
	case err != nil:
		write(w, http.StatusInternalServerError, Failure{err.Error()})
	default:
		_ = begin() // an empty trace; who has gone away does not miss it
	}
}
