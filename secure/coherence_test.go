package secure_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/memorybackend"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

// reports is a backend whose watcher is driven by the test, and whose answers can
// be held back after they were read.
type reports struct {
	*memorybackend.Backend

	mu       sync.Mutex
	handlers map[string]backends.WatchHandler
	answered func(key string) // runs between the storage and the answer of a read
	refuse   error
}

func newReports(b *memorybackend.Backend) *reports {
	return &reports{Backend: b, handlers: map[string]backends.WatchHandler{}}
}

func (r *reports) Watch(prefix string, h backends.WatchHandler) (func(), error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handlers[prefix] = h
	return func() {}, r.refuse
}

func (r *reports) GetEntry(ctx context.Context, key string) (backends.Entry, error) {
	e, err := r.Backend.GetEntry(ctx, key)
	r.mu.Lock()
	f := r.answered
	r.mu.Unlock()
	if f != nil {
		f(key)
	}
	return e, err
}

func (r *reports) handler(prefix string) backends.WatchHandler {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.handlers[prefix]
}

func (r *reports) prefixes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.handlers)
}

// meanwhile runs f once, when the next read has its answer.
func (r *reports) meanwhile(f func()) {
	var once sync.Once
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered = func(string) { once.Do(f) }
}

func coherent(t testing.TB, b backends.Backend, change func(*secure.Options)) *secure.Cache {
	t.Helper()
	opts := &secure.Options{Backend: b, MasterKey: key(t, "1"), Namespace: "users", Coherence: secure.On}
	if change != nil {
		change(opts)
	}
	c, err := secure.NewMinimal(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func put(t testing.TB, c *secure.Cache, key, value string) {
	t.Helper()
	if err := c.Set(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

func see(t testing.TB, c *secure.Cache, key, want string) {
	t.Helper()
	var got string
	if _, err := c.Get(t.Context(), key, &got); err != nil || got != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

// What one process writes in any way, the others see at once, although they had
// copies.
func TestCoherentWrites(t *testing.T) {
	storage := memorybackend.New(nil)
	secret, err := keys.ParseNameSecret(strings.Repeat("5", 64))
	if err != nil {
		t.Fatal(err)
	}
	hidden := func(o *secure.Options) { o.KeyNameSecret = secret }
	for _, change := range []func(*secure.Options){nil, hidden, func(o *secure.Options) { o.Namespace = "" }} {
		a, b := coherent(t, storage, change), coherent(t, storage.Peer(), change)
		view := secure.For[string](a)
		for name, write := range map[string]func() error{
			"Set":        func() error { return a.Set(t.Context(), "k", "new") },
			"SetMany":    func() error { return view.SetMany(t.Context(), map[string]string{"k": "new"}) },
			"Delete":     func() error { _, err := a.Delete(t.Context(), "k"); return err },
			"DeleteMany": func() error { _, err := view.DeleteMany(t.Context(), []string{"k"}); return err },
		} {
			put(t, a, "k", "old")
			see(t, b, "k", "old")
			before := b.Stats().L1.Hits
			see(t, b, "k", "old")
			if b.Stats().L1.Hits != before+1 {
				t.Fatalf("%s: there is no copy", name)
			}
			if err := write(); err != nil {
				t.Fatal(err)
			}
			want := "new"
			if name[0] == 'D' {
				want = ""
			}
			see(t, b, "k", want)
		}
	}
	a, b := coherent(t, storage, nil), coherent(t, storage.Peer(), nil)
	opA, errA := a.Op("orders", "total")
	opB, errB := b.Op("orders", "total")
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	for i := range 3 {
		if err := opA.Set(t.Context(), i, "x"); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			var got int
			if _, err := opB.Get(t.Context(), &got, "x"); err != nil || got != i {
				t.Fatalf("the operation: got %d, %v; want %d", got, err, i)
			}
		}
	}
	if s := b.Stats(); s.Coherence.Invalidations == 0 || !s.Coherence.Up || s.L1.Hits < 3 {
		t.Errorf("%+v", s)
	}
}

// No copy is served or made while the watcher is down, nor of a read that was
// sent then, nor of one that a report has overtaken.
func TestNoCopyWithoutReports(t *testing.T) {
	type world struct {
		c    *secure.Cache
		b    *reports
		peer *secure.Cache
		h    backends.WatchHandler
	}
	const name = "users:k"
	for _, tc := range []struct {
		rule string
		run  func(w world)
		copy bool // whether a copy stands at the end
	}{
		{"a read is copied", func(w world) { see(t, w.c, "k", "old") }, true},
		{"a report drops it", func(w world) { see(t, w.c, "k", "old"); w.h.Changed([]string{name}) }, false},
		{"a report of another key does not", func(w world) { see(t, w.c, "k", "old"); w.h.Changed([]string{"users:other"}) }, true},
		{"a flush drops it", func(w world) { see(t, w.c, "k", "old"); w.h.Flush() }, false},
		{"Down drops it", func(w world) { see(t, w.c, "k", "old"); w.h.Down() }, false},
		{"nothing is copied while it is down", func(w world) { w.h.Down(); see(t, w.c, "k", "old") }, false},
		{"nor a write", func(w world) { w.h.Down(); put(t, w.c, "k", "new") }, false},
		{"nor a load", func(w world) {
			w.h.Down()
			load := func(context.Context) (string, error) { return "loaded", nil }
			if v, err := secure.For[string](w.c).GetOrLoad(t.Context(), "k", load); err != nil || v != "old" {
				t.Errorf("got %q, %v", v, err)
			}
		}, false},
		{"a read is copied when it is up again", func(w world) { w.h.Down(); w.h.Up(); see(t, w.c, "k", "old") }, true},
		{"a copy from before an outage does not come back", func(w world) { see(t, w.c, "k", "old"); w.h.Down(); w.h.Up() }, false},
		{"a report that overtakes the answer of a read voids the copy", func(w world) {
			w.b.meanwhile(func() { put(t, w.peer, "k", "new"); w.h.Changed([]string{name}) })
			see(t, w.c, "k", "old")
		}, false},
		{"and so does an outage of which the reader sees nothing", func(w world) {
			w.b.meanwhile(func() { w.h.Down(); put(t, w.peer, "k", "new"); w.h.Up() })
			see(t, w.c, "k", "old")
		}, false},
		{"a read that was sent while it was down is not copied after Up", func(w world) {
			w.h.Down()
			w.b.meanwhile(func() { put(t, w.peer, "k", "new"); w.h.Up() })
			see(t, w.c, "k", "old")
		}, false},
		{"a read that Down overtakes is not copied", func(w world) { w.b.meanwhile(w.h.Down); see(t, w.c, "k", "old") }, false},
		{"a flush that overtakes a read voids the copy", func(w world) { w.b.meanwhile(w.h.Flush); see(t, w.c, "k", "old") }, false},
		{"nor is one of a batch", func(w world) {
			w.h.Down()
			if _, err := secure.For[string](w.c).GetMany(t.Context(), []string{"k"}); err != nil {
				t.Error(err)
			}
		}, false},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			storage := memorybackend.New(nil)
			b := newReports(storage.Peer())
			w := world{c: coherent(t, b, nil), b: b, peer: coherent(t, storage, nil), h: b.handler("users:")}
			put(t, w.peer, "k", "old")
			if w.c.Stats().Coherence.Up {
				t.Error("it is up before the backend says so")
			}
			w.h.Up()
			tc.run(w)
			b.answered = nil
			if (w.c.Stats().L1.Entries > 0) != tc.copy {
				t.Errorf("a copy stands: %v, want %v", !tc.copy, tc.copy)
			}
			var want, got string
			fresh := coherent(t, storage.Peer(), nil)
			if _, err := fresh.Get(t.Context(), "k", &want); err != nil {
				t.Fatal(err)
			}
			if _, err := w.c.Get(t.Context(), "k", &got); err != nil || got != want {
				t.Errorf("it serves %q, %v; the storage holds %q", got, err, want)
			}
		})
	}
}

// lockless has no fill locks.
type lockless struct{ *reports }

func (l lockless) Capabilities() backends.Caps {
	c := backends.CapabilitiesOf(l.reports)
	c.Locker = nil
	return c
}

// Who asks after a report does not share a load that read before it.
func TestReportsPartLoads(t *testing.T) {
	for name, event := range map[string]func(backends.WatchHandler){
		"changed": func(h backends.WatchHandler) { h.Changed([]string{"users:k"}) },
		"flush":   backends.WatchHandler.Flush,
		"outage":  func(h backends.WatchHandler) { h.Down(); h.Up() },
	} {
		b := newReports(memorybackend.New(nil))
		v := secure.For[string](coherent(t, lockless{b}, nil))
		b.handler("users:").Up()
		began, release := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = v.GetOrLoad(t.Context(), "k", func(context.Context) (string, error) { close(began); <-release; return "old", nil })
		})
		<-began
		event(b.handler("users:"))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		got, err := v.GetOrLoad(ctx, "k", func(context.Context) (string, error) { return "new", nil })
		if err != nil || got != "new" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		cancel()
		close(release)
		wg.Wait()
	}
}

// A namespace that is first used later is watched from then on, and is not copied
// before; the others keep their copies.
func TestFurtherNamespaces(t *testing.T) {
	storage := memorybackend.New(nil)
	b := newReports(storage.Peer())
	c, peer := coherent(t, b, nil), coherent(t, storage, nil)
	b.handler("users:").Up()
	put(t, peer, "k", "v")
	see(t, c, "k", "v")
	orders, err := c.Namespace("orders")
	if err != nil {
		t.Fatal(err)
	}
	put(t, orders, "k", "v")
	see(t, orders, "k", "v")
	if s := c.Stats(); s.L1.Entries != 1 || s.Coherence.Up {
		t.Errorf("%+v", s)
	}
	b.handler("orders:").Up()
	see(t, orders, "k", "v")
	if s := c.Stats(); s.L1.Entries != 2 || !s.Coherence.Up || s.Coherence.Outages != 0 || s.Coherence.Down <= 0 {
		t.Errorf("%+v", s)
	}
	for i := range 200 {
		if _, err := c.Namespace(fmt.Sprint("ns", i%100)); err != nil {
			t.Fatal(err)
		}
	}
	if n := b.prefixes(); n != 65 || b.handler("") == nil {
		t.Errorf("%d prefixes are watched, want 64 and everything", n)
	}
	b.handler("").Up()
	last, err := c.Namespace("one-more")
	if err != nil {
		t.Fatal(err)
	}
	put(t, last, "k", "v")
	if c.Stats().L1.Entries != 3 {
		t.Error("a key that the watch of everything covers is not copied")
	}
}

func TestCoherenceOptions(t *testing.T) {
	broken := newReports(memorybackend.New(nil))
	broken.refuse = errors.New("no")
	for name, change := range map[string]func(*secure.Options){
		"a backend that cannot report": func(o *secure.Options) { o.Backend = newFake() },
		"a backend that refuses":       func(o *secure.Options) { o.Backend = broken },
		"no in-process layer":          func(o *secure.Options) { o.NoL1 = true },
		"nothing but in-process layer": func(o *secure.Options) { o.Backend, o.L1Only = nil, true },
		"a value that is not a Switch": func(o *secure.Options) { o.Coherence = secure.Off + 1 },
		"a closed backend":             func(o *secure.Options) { _ = o.Backend.Close() },
	} {
		o := &secure.Options{Backend: memorybackend.New(nil), MasterKey: key(t, "1"), Coherence: secure.On}
		change(o)
		if _, err := secure.NewMinimal(t.Context(), o); !errors.Is(err, secure.ErrConfig) {
			t.Errorf("%s: got %v, want ErrConfig", name, err)
		}
	}
	b := newReports(memorybackend.New(nil))
	c, err := secure.New(t.Context(), &secure.Options{Backend: b, MasterKey: key(t, "1")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if s := c.Stats().Coherence; b.prefixes() != 0 || s != (secure.CoherenceStats{}) {
		t.Errorf("it is off by default, but %d prefixes are watched: %+v", b.prefixes(), s)
	}
}

// The clock of Stats.
func TestCoherenceDownTime(t *testing.T) {
	b := newReports(memorybackend.New(nil))
	c := coherent(t, b, nil)
	h := b.handler("users:")
	h.Up()
	h.Down()
	time.Sleep(20 * time.Millisecond) // what is measured
	h.Up()
	s := c.Stats().Coherence
	if s.Down < 20*time.Millisecond || s.Outages != 1 || s.Flushes != 1 || !s.Up {
		t.Errorf("%+v", s)
	}
	if again := c.Stats().Coherence.Down; again != s.Down {
		t.Error("the clock runs while reports come")
	}
}

// Each change of state is an event, in order, and told under no lock of the
// watcher's; an observer that blocks holds up nobody.
func TestCoherenceEvents(t *testing.T) {
	b := newReports(memorybackend.New(nil))
	var mu sync.Mutex
	var kinds []string
	block := make(chan struct{})
	c := coherent(t, b, func(o *secure.Options) {
		o.Observer = &secure.Observer{Event: func(e secure.Event) {
			<-block
			mu.Lock()
			defer mu.Unlock()
			kinds = append(kinds, e.Kind)
		}}
	})
	h := b.handler("users:")
	h.Up()
	h.Flush()
	h.Down()
	h.Up()
	put(t, c, "k", "v")
	see(t, c, "k", "v")
	close(block)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(kinds, " "), "coherence_up coherence_flush coherence_down coherence_up"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}
