// SPDX-License-Identifier: Apache-2.0

package vici

import (
	"bytes"
	"io"
	"reflect"
	"testing"
)

var (
	// The names in their order, so that encoding gives the same octets again.
	example = Message{
		"key1": "value1",
		"section1": Message{
			"list1":      []string{"item1", "item2"},
			"subsection": Message{"key2": ""},
		},
	}
	encoded = []byte("\x03\x04key1\x00\x06value1" +
		"\x01\x08section1" +
		"\x04\x05list1\x05\x00\x05item1\x05\x00\x05item2\x06" +
		"\x01\x0asubsection\x03\x04key2\x00\x00\x02" +
		"\x02")
)

func TestAMessageIsEncodedAsItsDocumentationSays(t *testing.T) {
	b, err := example.appendTo(nil)
	if err != nil || !bytes.Equal(b, encoded) {
		t.Errorf("%q, %v, not %q", b, err, encoded)
	}
	m, rest, err := parse(encoded, false)
	if err != nil || len(rest) != 0 || !reflect.DeepEqual(m, example) {
		t.Errorf("%v, %v, not %v", m, err, example)
	}
}

func TestAMessageThatEndsTooEarlyIsRefused(t *testing.T) {
	whole := map[int]bool{0: true, 14: true, len(encoded): true} // between the elements
	for n := range encoded {
		if _, _, err := parse(encoded[:n], false); (err == nil) != whole[n] {
			t.Errorf("the first %d octets: %v", n, err)
		}
	}
}

func TestAnswersAndEventsAreTold(t *testing.T) {
	answered := func(answer Message) (Message, []Message, error) {
		var said bytes.Buffer
		for _, p := range []struct {
			kind byte
			m    Message
		}{{eventConfirm, nil}, {event, example}, {cmdResponse, answer}} {
			var b bytes.Buffer
			if err := send(&b, p.kind, "list-sa", p.m); err != nil {
				t.Fatal(err)
			}
			octets := b.Bytes()
			if p.kind != event { // only requests and events have a name
				const name = 1 + len("list-sa")
				octets = append(append(octets[:3:3], octets[3]-byte(name), octets[4]), octets[5+name:]...)
			}
			said.Write(octets)
		}
		return call(struct {
			io.Reader
			io.Writer
		}{&said, io.Discard}, "list-sas", nil, "list-sa")
	}
	answer, events, err := answered(Message{"success": "yes"})
	if err != nil || answer.Text("success") != "yes" || !reflect.DeepEqual(events, []Message{example}) {
		t.Errorf("%v, %v, %v", answer, events, err)
	}
	if _, _, err := answered(Message{"success": "no", "errmsg": "not found"}); err == nil || err.Error() != "charon says: not found" {
		t.Errorf("%v", err)
	}
}
