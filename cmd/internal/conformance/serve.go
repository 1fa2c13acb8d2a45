// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"errors"
)

// server is the NHS that is played for a client.
type server struct{ *station }

func (s *suite) runClient(context.Context, func(Result)) ([]Result, error) {
	return nil, errors.New("not yet")
}

var clientCases [][]Case
