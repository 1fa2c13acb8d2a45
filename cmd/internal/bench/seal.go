// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/sys/unix"

	"dmvpn/loader/esp"
)

const (
	sealOctets  = 1400 // of the payload
	sealPackets = 256  // that one pass works on: they fit into a core's own cache
	sealPasses  = 200  // a round
	// sealLimit is how much of the AEAD's own time ESP may take.
	sealLimit = 1.10
)

// A sealing is one algorithm: the AEAD of the Go library alone, and ESP with it.
type sealing struct {
	name      string
	algorithm esp.Algorithm
	key       int // octets, with the salt
	aead      func(key []byte) (cipher.AEAD, error)

	alone, whole [2][]float64 // ns of one packet, a value a round
}

// What is done to a packet.
const (
	seals = iota
	opens
)

func sealings() []*sealing {
	gcm := func(key []byte) (cipher.AEAD, error) {
		b, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		return cipher.NewGCM(b)
	}
	return []*sealing{
		{name: "AES-128-GCM", algorithm: esp.AESGCM16, key: 16 + 4, aead: gcm},
		{name: "AES-256-GCM", algorithm: esp.AESGCM16, key: 32 + 4, aead: gcm},
		{name: "ChaCha20-Poly1305", algorithm: esp.ChaCha20Poly1305, key: 32 + 4, aead: chacha20poly1305.New},
	}
}

// sealTable measures loader/esp beside the AEAD that it uses, on one CPU, in turns.
func sealTable(rounds, passes, cpu int, v *verdicts) error {
	done := make(chan error)
	go func() {
		if err := pin(cpu); err != nil { // the thread ends with the goroutine
			done <- err
			return
		}
		done <- sealRounds(rounds, passes, v)
	}()
	return <-done
}

func sealRounds(rounds, passes int, v *verdicts) error {
	list := sealings()
	for range rounds {
		for _, s := range list {
			if err := s.round(passes); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	fmt.Printf("ESP of %d octets in place, beside the AEAD of the Go library alone, %d rounds of %d packets\n\n", sealOctets, rounds, passes*sealPackets)
	fmt.Printf("| | seal: AEAD, ESP | ratio | open: AEAD, ESP | ratio |\n| --- | --- | --- | --- | --- |\n")
	for _, s := range list {
		fmt.Printf("| %s |", s.name)
		for what := range s.alone {
			fmt.Printf(" %.0f, %.0f ns | %s |", median(s.alone[what]), median(s.whole[what]), spread(s.whole[what], s.alone[what]))
			v.atMost(s.name+[]string{" sealed", " opened"}[what]+", by the AEAD", median(quotients(s.whole[what], s.alone[what])), sealLimit)
		}
		fmt.Println()
	}
	fmt.Printf("\nProof: each packet opened to what was sealed.\n\n")
	v.print()
	return nil
}

// packetsOf are buffers with a payload each, and room around it.
func packetsOf(payload []byte) [][]byte {
	all := make([][]byte, sealPackets)
	for i := range all {
		all[i] = append(make([]byte, esp.Front, esp.Front+len(payload)+esp.Back+16), payload...)
	}
	return all
}

// round seals and opens every packet so often, each way in its turn.
func (s *sealing) round(passes int) error {
	key, payload := make([]byte, s.key), make([]byte, sealOctets)
	_, _ = rand.Read(key) // it never fails: crypto/rand ends the program instead
	_, _ = rand.Read(payload)
	a, err := s.aead(key[:s.key-4])
	if err != nil {
		return err
	}
	x := esp.Transform{Algorithm: s.algorithm, Key: key}
	usage := &esp.Usage{}
	out, err := esp.NewOutbound(esp.OutboundConfig{SPI: 1, Extended: true, Transform: x, Usage: usage})
	if err != nil {
		return err
	}
	in, err := esp.NewInbound(esp.InboundConfig{SPI: 1, Extended: true, Transform: x, Usage: usage})
	if err != nil {
		return err
	}
	packets := packetsOf(payload)
	sealed := make([][]byte, sealPackets)
	var nonce, associated [12]byte
	var scratch esp.Scratch
	var alone, whole [2]time.Duration
	runtime.GC()
	for pass := range passes {
		start := threadTime()
		for i, b := range packets {
			binary.BigEndian.PutUint64(nonce[4:], uint64(pass*sealPackets+i))
			text := b[esp.Front:]
			sealed[i] = a.Seal(text[:0], nonce[:], text, associated[:])
		}
		middle := threadTime()
		for i, b := range sealed {
			binary.BigEndian.PutUint64(nonce[4:], uint64(pass*sealPackets+i))
			if _, err := a.Open(b[:0], nonce[:], b, associated[:]); err != nil {
				return err
			}
		}
		end := threadTime()
		alone[seals] += middle - start
		alone[opens] += end - middle
		start = threadTime()
		for i, b := range packets {
			if sealed[i], err = out.Seal(&scratch, b, esp.Front, 47); err != nil {
				return err
			}
		}
		middle = threadTime()
		for _, b := range sealed {
			got, next, err := in.Open(&scratch, b)
			if err != nil || next != 47 || len(got) != sealOctets {
				return fmt.Errorf("opened to %d octets, next header %d: %w", len(got), next, err)
			}
		}
		end = threadTime()
		whole[seals] += middle - start
		whole[opens] += end - middle
	}
	for i := range packets {
		if !bytes.Equal(packets[i][esp.Front:], payload) {
			return fmt.Errorf("packet %d is not what was sealed", i)
		}
	}
	for what := range alone {
		n := float64(passes * sealPackets)
		s.alone[what] = append(s.alone[what], float64(alone[what].Nanoseconds())/n)
		s.whole[what] = append(s.whole[what], float64(whole[what].Nanoseconds())/n)
	}
	return nil
}

// threadTime is the CPU time of the calling thread.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err) // the clock that every thread has
	}
	return time.Duration(t.Nano())
}
