// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var comparePorts = cmpopts.EquateComparable(netip.AddrPort{})

func TestOrdersAboutIKEReachTheDaemon(t *testing.T) {
	d := &daemon{}
	client, _ := serve(t, d)
	ctx := t.Context()
	k, err := client.IKE(ctx)
	if err != nil || len(k.SAs) != 1 || k.SAs[0].ID != 7 || k.SAs[0].Encryption != "aes256gcm16" || k.Counters["sent"] != 3 {
		t.Errorf("IKE: %+v, %v", k, err)
	}
	done, err := client.IKERekey(ctx, "C=CH, O=Example & Sons, CN=a", true)
	if err != nil || done.SAs != 1 || d.ordered != "rekey C=CH, O=Example & Sons, CN=a true" {
		t.Errorf("rekey: %+v, %v, ordered %q", done, err, d.ordered)
	}
	done, err = client.IKETerminate(ctx, "192.0.2.1", false)
	if err != nil || done.SAs != 2 || d.ordered != "terminate 192.0.2.1 false" {
		t.Errorf("terminate: %+v, %v, ordered %q", done, err, d.ordered)
	}
	d.err = errors.New("ike: \"x\": no such peer")
	if _, err := client.IKERekey(ctx, "x", false); err == nil || err.Error() != `dmvpnd: ike: "x": no such peer` {
		t.Errorf("got %v", err)
	}
}

func TestATraceIsReadLineByLine(t *testing.T) {
	d := &daemon{}
	client, _ := serve(t, d)
	read := func(peer string) (all []IKELine) {
		if err := client.IKETrace(t.Context(), peer, false, func(l IKELine) error { all = append(all, l); return nil }); err != nil {
			t.Error(err)
		}
		return all
	}
	if diff := cmp.Diff(lines, read(""), comparePorts); diff != "" {
		t.Error(diff)
	}
	if got := read("192.0.2.99"); len(got) != 0 {
		t.Errorf("lines of somebody else: %v", got)
	}
	// A reader that follows ends it, and the daemon notices.
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	err := client.IKETrace(ctx, "", true, func(IKELine) error {
		if seen++; seen == len(lines) {
			cancel()
		}
		return nil
	})
	if err != nil || seen != len(lines) {
		t.Errorf("%d lines, %v", seen, err)
	}
	for end := time.Now().Add(5 * time.Second); !d.followed.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the daemon goes on")
		}
	}
	d.err = errors.New("ike: others are reading")
	err = client.IKETrace(t.Context(), "", true, func(IKELine) error { return nil })
	if err == nil || err.Error() != "dmvpnd: ike: others are reading" {
		t.Errorf("got %v", err)
	}
}

// TestATraceOutlastsTheLimitsOfOtherRequests: it has none but for a line.
func TestATraceOutlastsTheLimitsOfOtherRequests(t *testing.T) {
	server := httptest.NewUnstartedServer(Handler(&daemon{}))
	server.Config.ReadTimeout, server.Config.WriteTimeout = 50*time.Millisecond, 50*time.Millisecond
	server.Start()
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/v1/ike/trace?follow=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if _, err := io.ReadAll(a.Body); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the server ended it: %v", err)
	}
}

func TestWhatMeansNothingIsRefused(t *testing.T) {
	server := httptest.NewServer(IKEHandler(&daemon{}))
	defer server.Close()
	for _, c := range []struct {
		method, path string
		status       int
		answer       string
	}{
		{"GET", "/v1/ike/trace", 200, `{"time":"2001-09-09T01:46:40Z"`},
		{"POST", "/v1/ike/rekey?peer=a", 200, `{"sas":1}`},
		{"POST", "/v1/ike/rekey", 400, `{"error":"peer is missing: `},
		{"POST", "/v1/ike/terminate?peer=", 400, `{"error":"peer is missing: `},
		{"POST", "/v1/ike/rekey?peer=a&child=perhaps", 400, `{"error":"child=perhaps is neither true nor false"}`},
		{"POST", "/v1/ike/rekey?peer=a&childs=true", 400, `{"error":"there is no parameter \"childs\", only [\"peer\" \"child\"]"}`},
		{"GET", "/v1/ike/rekey?peer=a", 405, `{"error":"GET /v1/ike/rekey: use POST"}`},
		{"POST", "/v1/ike/trace", 405, `{"error":"POST /v1/ike/trace: use GET"}`},
		{"GET", "/v1/ike/trace?follow=perhaps", 400, `{"error":"follow=perhaps is neither`},
		{"GET", "/v1/peers", 404, `404 page not found`}, // this one is about IKE alone
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, server.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(a.Body)
		a.Body.Close()
		if err != nil || a.StatusCode != c.status || !strings.HasPrefix(string(bytes.TrimSpace(text)), c.answer) {
			t.Errorf("%s %s: %d %s, %v; want %d %s", c.method, c.path, a.StatusCode, text, err, c.status, c.answer)
		}
	}
}
