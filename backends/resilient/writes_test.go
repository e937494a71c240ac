package resilient_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
)

// Writes whose first reply was lost: what is sent again, and what comes of it.
func TestWritesWithALostReply(t *testing.T) {
	ctx := context.Background()
	for _, tc := range []struct {
		rule string
		op   string
		call func(b *resilient.Backend, c backends.Caps) (bool, error)
		sent int
		ok   bool
		kind backends.Kind
	}{
		{"Set is sent again with the same value", "set", func(b *resilient.Backend, _ backends.Caps) (bool, error) {
			return true, b.Set(ctx, "k", []byte("new"), time.Hour)
		}, 2, true, 0},
		{"Delete is sent again, and cannot tell that there was an entry", "delete", func(b *resilient.Backend, _ backends.Caps) (bool, error) {
			return b.Delete(ctx, "k")
		}, 2, false, 0},
		{"Touch is sent again", "touch", func(_ *resilient.Backend, c backends.Caps) (bool, error) {
			return c.TTLer.Touch(ctx, "k", time.Hour)
		}, 2, true, 0},
		{"Unlock is sent again, with its token, and cannot tell that it released", "unlock", func(_ *resilient.Backend, c backends.Caps) (bool, error) {
			return c.Locker.Unlock(ctx, "k", "t")
		}, 2, false, 0},
		{"Lock is not: it would find its own lock", "lock", func(_ *resilient.Backend, c backends.Caps) (bool, error) {
			_, err := c.Locker.Lock(ctx, "k", time.Hour)
			return false, err
		}, 1, false, backends.Transient},
		{"Swap is not: it would find its own bytes", "swap", func(_ *resilient.Backend, c backends.Caps) (bool, error) {
			return c.Swapper.Swap(ctx, "k", []byte("old"), []byte("new"))
		}, 1, false, backends.Transient},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory()
			m.values["k"] = []byte("old")
			m.fail = failTimes(1, done{failure(backends.Transient)})
			b := wrap(t, m, nil)
			ok, err := tc.call(b, b.Capabilities())
			if n := m.sent(tc.op, "k"); n != tc.sent || ok != tc.ok || kindOf(err) != tc.kind {
				t.Errorf("%s: sent %d times, %t, %v; want %d, %t, %v", tc.rule, n, ok, err, tc.sent, tc.ok, tc.kind)
			}
		})
	}
}

// A write is not sent again over a newer write of the same process, whatever the
// newer one was; its own failure is returned.
func TestRetriesDoNotOverwriteNewerWrites(t *testing.T) {
	ctx := context.Background()
	for name, newer := range map[string]func(b *resilient.Backend) error{
		"Set":    func(b *resilient.Backend) error { return b.Set(ctx, "k", []byte("newer"), time.Hour) },
		"Delete": func(b *resilient.Backend) error { _, err := b.Delete(ctx, "k"); return err },
		"SetMany": func(b *resilient.Backend) error {
			return b.Capabilities().Batcher.SetMany(ctx, []backends.Item{{Key: "k", Value: []byte("newer"), TTL: time.Hour}})[0]
		},
		"DeleteMany": func(b *resilient.Backend) error {
			return b.Capabilities().Batcher.DeleteMany(ctx, []string{"k"})[0].Err
		},
		"Swap": func(b *resilient.Backend) error {
			_, err := b.Capabilities().Swapper.Swap(ctx, "k", []byte("old"), []byte("newer"))
			return err
		},
	} {
		for first, write := range map[string]func(b *resilient.Backend) error{
			"Set":    func(b *resilient.Backend) error { return b.Set(ctx, "k", []byte("stale"), time.Hour) },
			"Delete": func(b *resilient.Backend) error { _, err := b.Delete(ctx, "k"); return err },
			"SetMany": func(b *resilient.Backend) error {
				return b.Capabilities().Batcher.SetMany(ctx, []backends.Item{{Key: "k", Value: []byte("stale"), TTL: time.Hour}})[0]
			},
		} {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				m.values["k"] = []byte("old")
				m.fail = failTimes(1, &backends.Error{Kind: backends.Transient, RetryAfter: time.Second})
				b := wrap(t, m, nil)
				err := make(chan error, 1)
				go func() { err <- write(b) }()
				synctest.Wait() // it waits for its retry
				if e := newer(b); e != nil {
					t.Fatal(e)
				}
				want := m.value("k")
				if e := <-err; kindOf(e) != backends.Transient {
					t.Errorf("%s, then %s: the older got %v, want its own failure", first, name, e)
				}
				if got := m.value("k"); got != want {
					t.Errorf("%s, then %s: the retry changed %q to %q", first, name, want, got)
				}
			})
		}
	}
}

// A newer write of another key, and reads, do not keep a write from its retry.
func TestRetriesOfOtherKeysGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.fail = failTimes(1, &backends.Error{Kind: backends.Timeout, RetryAfter: time.Second})
		b := wrap(t, m, nil)
		err := make(chan error, 1)
		go func() { err <- b.Set(t.Context(), "k", []byte("v"), time.Hour) }()
		synctest.Wait()
		_ = b.Set(t.Context(), "other", []byte("v"), time.Hour)
		_, _ = b.Get(t.Context(), "k")
		if e := <-err; e != nil || m.value("k") != "v" {
			t.Errorf("%v, stored %q", e, m.value("k"))
		}
	})
}

// Another process's write between two attempts is concurrent with the call: the
// retry may overwrite it, as documented, and nothing does once the call is over.
func TestRetriesAndOtherProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.fail = failTimes(1, &backends.Error{Kind: backends.Transient, RetryAfter: time.Second})
		b := wrap(t, m, nil)
		err := make(chan error, 1)
		go func() { err <- b.Set(t.Context(), "k", []byte("ours"), time.Hour) }()
		synctest.Wait()
		m.Set(t.Context(), "k", []byte("theirs"), time.Hour) // past the wrapper
		if e := <-err; e != nil || m.value("k") != "ours" {
			t.Errorf("%v, stored %q", e, m.value("k"))
		}
		m.Set(t.Context(), "k", []byte("later"), time.Hour)
		time.Sleep(time.Hour)
		if m.value("k") != "later" {
			t.Errorf("after the call, %q was stored", m.value("k"))
		}
	})
}

func TestClosedWrappers(t *testing.T) {
	m := newMemory()
	b := wrap(t, m, &resilient.Options{Attempts: 1, Failures: 1})
	m.fail = failTimes(1, failure(backends.Transient))
	_, _ = b.Get(t.Context(), "k")
	if err := b.Close(); err != nil || !m.closed {
		t.Errorf("Close = %v; the inner backend is closed: %t", err, m.closed)
	}
	if _, err := b.Get(t.Context(), "k"); !errors.Is(err, backends.ErrClosed) {
		t.Errorf("with an open circuit: %v, want ErrClosed", err)
	}
}
