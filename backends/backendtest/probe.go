package backendtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// Every key and every value of the suite contains one of these, so that an
// error text that repeats either gives itself away.
const (
	keyCanary   = "canary-key"
	valueCanary = "canary-value"
)

// probe is a testing.TB that prints the rule with each failure and runs its
// cleanups when told.
type probe struct {
	testing.TB
	harness Harness
	rule    string
	ctx     context.Context

	mu       sync.Mutex
	cleanups []func()
	secrets  []string
}

func newProbe(tb testing.TB, h Harness, rule string) *probe {
	if h.Granularity <= 0 {
		h.Granularity = time.Millisecond
	}
	return &probe{TB: tb, harness: h, rule: rule, ctx: context.Background()}
}

// scope returns a probe with cleanups of its own.
func (t *probe) scope() *probe {
	return &probe{TB: t.TB, harness: t.harness, rule: t.rule, ctx: t.ctx}
}

// Cleanup registers f for the end of the probe.
func (t *probe) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

func (t *probe) end() {
	for {
		t.mu.Lock()
		n := len(t.cleanups)
		if n == 0 {
			t.mu.Unlock()
			return
		}
		f := t.cleanups[n-1]
		t.cleanups = t.cleanups[:n-1]
		t.mu.Unlock()
		f()
	}
}

func (t *probe) Errorf(format string, args ...any) {
	t.TB.Helper()
	t.TB.Errorf("%s\n\trule: %s", fmt.Sprintf(format, args...), t.rule)
}

func (t *probe) Fatalf(format string, args ...any) {
	t.TB.Helper()
	t.TB.Fatalf("%s\n\trule: %s", fmt.Sprintf(format, args...), t.rule)
}

// open returns a fresh subject, closed at the end of the probe.
func (t *probe) open() *Subject {
	t.Helper()
	s := t.harness.Open(t)
	if s.Backend == nil {
		t.Fatalf("Harness.Open returned no backend")
	}
	t.Cleanup(func() {
		if s.Resume != nil {
			s.Resume()
		}
		_ = s.Backend.Close()
	})
	t.secrets = append(t.secrets, s.Secrets...)
	return &s
}

// backend is open for cases that need nothing but the backend.
func (t *probe) backend() backends.Backend {
	t.Helper()
	return t.open().Backend
}

// other opens another handle on the storage of s, or returns the same one where
// there is none.
func (t *probe) other(s *Subject) backends.Backend {
	t.Helper()
	if s.Other == nil {
		return s.Backend
	}
	b := s.Other(t)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func key(name string) string { return keyCanary + ":" + name }

// payload returns n bytes that tell their name and cover all byte values.
func payload(name string, n int) []byte {
	head := valueCanary + "|" + name + "|"
	p := make([]byte, n)
	for i := range p {
		if i < len(head) {
			p[i] = head[i]
		} else {
			p[i] = byte(i * 167 >> (i >> 8 & 1))
		}
	}
	return p
}

func (t *probe) set(b backends.Backend, key string, value []byte, ttl time.Duration) {
	t.Helper()
	if err := b.Set(t.ctx, key, value, ttl); err != nil {
		t.clean(err)
		t.Fatalf("Set of %d bytes with ttl %v = %v, want nil", len(value), ttl, err)
	}
}

// holds checks that Get returns value.
func (t *probe) holds(b backends.Backend, key string, value []byte) {
	t.Helper()
	got, err := b.Get(t.ctx, key)
	if err != nil {
		t.Errorf("Get of an entry that was set = %v, want nil", err)
		return
	}
	t.same("Get", got, value)
}

func (t *probe) same(what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	t.Errorf("%s returned %d bytes, want %d; they differ from byte %d on", what, len(got), len(want), at)
}

// misses checks that there is no entry, by every way of asking.
func (t *probe) misses(b backends.Backend, key string) {
	t.Helper()
	if v, err := b.Get(t.ctx, key); !errors.Is(err, backends.ErrNotFound) || v != nil {
		t.Errorf("Get of a missing entry = %d bytes (nil: %t), %v, want nil, ErrNotFound", len(v), v == nil, err)
	}
	if ok, err := b.Exists(t.ctx, key); ok || err != nil {
		t.Errorf("Exists of a missing entry = %t, %v, want false, nil", ok, err)
	}
	if e := backends.CapabilitiesOf(b).EntryReader; e != nil {
		if _, err := e.GetEntry(t.ctx, key); !errors.Is(err, backends.ErrNotFound) {
			t.Errorf("GetEntry of a missing entry = %v, want ErrNotFound", err)
		}
	}
}

// clean checks that no text in the tree of err tells a key, a value or a
// credential.
func (t *probe) clean(err error) {
	t.Helper()
	if err == nil {
		return
	}
	t.cleanText("the text of an error", err.Error())
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		t.clean(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			t.clean(err)
		}
	}
}

func (t *probe) cleanText(what, text string) {
	t.Helper()
	for _, canary := range append([]string{keyCanary, valueCanary}, t.secrets...) {
		if canary != "" && strings.Contains(text, canary) {
			t.Errorf("%s tells a key, a value or a credential: it contains that of this test", what)
		}
	}
}

// failed checks an error against a class and for leaks.
func (t *probe) failed(what string, err, class error) {
	t.Helper()
	if !errors.Is(err, class) {
		t.Errorf("%s = %v, want an error that is %q", what, err, class)
	}
	t.clean(err)
}

// within runs call and fails if it takes longer than limit; call goes on then.
func (t *probe) within(limit time.Duration, what string, call func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		t.Errorf("%s has not returned after %v", what, limit)
		return errHangs
	}
}

var errHangs = errors.New("backendtest: the call hangs")

// eventually polls until done, at most for limit.
func eventually(limit time.Duration, done func() bool) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return done()
		}
	}
	return true
}
