// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// newLog writes lines for people: the journal adds the time itself.
func newLog(w io.Writer, level string) zerolog.Logger {
	zerolog.TimeFieldFormat = time.RFC3339Nano
	console := zerolog.ConsoleWriter{Out: w, NoColor: true, TimeFormat: "2006-01-02T15:04:05.000Z07:00"}
	if os.Getenv("JOURNAL_STREAM") != "" {
		console.PartsExclude = []string{zerolog.TimestampFieldName}
	}
	if f, ok := w.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		console.NoColor = err != nil || os.Getenv("NO_COLOR") != ""
	}
	setLevel(level)
	return zerolog.New(console).With().Timestamp().Logger()
}

// setLevel changes the level of every logger. The configuration has checked it.
func setLevel(level string) {
	if l, err := zerolog.ParseLevel(level); err == nil {
		zerolog.SetGlobalLevel(l)
	}
}

// version is the module's, with the revision where it was built from a checkout.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	if v == "" {
		return "unknown"
	}
	return v
}
