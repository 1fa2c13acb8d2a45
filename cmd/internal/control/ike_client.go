// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// IKE asks for /v1/ike.
func (c *Client) IKE(ctx context.Context) (IKE, error) { return ask[IKE](ctx, c, "ike") }

// IKERekey asks for /v1/ike/rekey.
func (c *Client) IKERekey(ctx context.Context, peer string, child bool) (IKEDone, error) {
	return c.order(ctx, "ike/rekey", peer, child)
}

// IKETerminate asks for /v1/ike/terminate.
func (c *Client) IKETerminate(ctx context.Context, peer string, child bool) (IKEDone, error) {
	return c.order(ctx, "ike/terminate", peer, child)
}

func (c *Client) order(ctx context.Context, name, peer string, child bool) (done IKEDone, err error) {
	q := url.Values{"peer": {peer}, "child": {strconv.FormatBool(child)}}
	err = c.request(ctx, http.MethodPost, name+"?"+q.Encode(), &done)
	return done, err
}

// IKETrace asks for /v1/ike/trace and calls each with every line, until ctx or the
// trace ends, or each fails. The end of ctx is no error.
func (c *Client) IKETrace(ctx context.Context, peer string, follow bool, each func(IKELine) error) error {
	q := url.Values{"follow": {strconv.FormatBool(follow)}}
	if peer != "" {
		q.Set("peer", peer)
	}
	answer, err := c.do(ctx, http.MethodGet, "ike/trace?"+q.Encode())
	if err != nil {
		return endOf(ctx, err)
	}
	defer answer.Body.Close()
	lines := json.NewDecoder(answer.Body)
	for {
		var l IKELine
		switch err := lines.Decode(&l); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return endOf(ctx, fmt.Errorf("control socket %s: ike/trace: %w", c.socket, err))
		}
		if err := each(l); err != nil {
			return err
		}
	}
}

// endOf is the error, or nil if it came of the end of ctx.
func endOf(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil
	}
	return err
}

// Post makes a request whose answer is only whether it was done.
func (c *Client) Post(ctx context.Context, name string) error {
	return c.request(ctx, http.MethodPost, name, &struct{}{})
}
