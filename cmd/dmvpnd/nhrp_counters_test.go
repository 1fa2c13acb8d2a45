// SPDX-License-Identifier: Apache-2.0

package main

import (
	"reflect"
	"testing"

	"dmvpn/cmd/internal/control"
)

func TestCountersOfNHRPAreSortedByKind(t *testing.T) {
	got := sortCounters(map[string]uint64{
		"registration-request-received": 7, "registration-request-dropped-rate": 2, "registration-request-dropped-rate-strangers": 3,
		"registration-reply-sent": 6, "registration-reply-sent-code-14": 1, "error-sent-unreachable": 4, "error-indication-sent": 4,
		"dropped-rate": 2, "dropped-rate-strangers": 3, "answered": 9,
	})
	want := control.NHRPCounters{
		Types: []control.NHRPType{
			{Type: "error-indication", Sent: 4}, {Type: "registration-reply", Sent: 6}, {Type: "registration-request", Received: 7, Dropped: 5},
		},
		Codes:   map[string]uint64{"registration-reply-sent-code-14": 1, "error-sent-unreachable": 4},
		Dropped: map[string]uint64{"rate": 2, "rate-strangers": 3},
		Events:  map[string]uint64{"answered": 9},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, expected\n%+v", got, want)
	}
}
