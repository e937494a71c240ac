package secure_test

import (
	"context"
	"encoding/json"
	"errors"
	"expvar"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
	"github.com/cachekit-io/cachekit-go/secure"
)

// watcher writes down what an observer is told, one word or line each.
type watcher struct {
	mu       sync.Mutex
	lines    []string
	begun    int
	attached int
	deaf     bool // Begin wants no End
	stats    func() secure.Stats
}

type stepKey struct{}

func (w *watcher) add(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

// take returns the lines and forgets them.
func (w *watcher) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.lines
	w.lines = nil
	return out
}

func (w *watcher) observer() *secure.Observer {
	return &secure.Observer{
		Attach: func(stats func() secure.Stats) func() {
			w.attached++
			w.stats = stats
			return func() { w.attached-- }
		},
		Begin: func(ctx context.Context, name, backend string, _ int) (context.Context, bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.begun++
			path, _ := ctx.Value(stepKey{}).(string)
			return context.WithValue(ctx, stepKey{}, path+"/"+backend+":"+name), !w.deaf
		},
		End: func(ctx context.Context, op secure.Operation) {
			shared := ""
			if op.Shared {
				shared = " shared"
			}
			w.add("%s %s %s %s %d/%d/%d%s", ctx.Value(stepKey{}), op.Outcome, op.Source, op.Error, op.Keys, op.Found, op.Failed, shared)
		},
		Local: func(_ context.Context, op secure.Operation) {
			w.add("local %s %s %s %s", op.Name, op.Outcome, op.Source, op.Error)
		},
		Event: func(e secure.Event) { w.add("event %s %s %s", e.Kind, e.Op, e.Error) },
	}
}

// What is reported of each operation, in the order of their ends, and what
// Stats counts of the whole.
func TestObserverAndStatsOfAScript(t *testing.T) {
	ctx := t.Context()
	f, w := newFake(), new(watcher)
	c := open(t, f, func(o *secure.Options) { o.Observer = w.observer() })
	v := secure.For[user](c)
	var got user
	load := func(context.Context) (user, error) { return alice, nil }
	steps := []struct {
		rule string
		do   func()
		want []string
	}{
		{"a miss", func() { c.Get(ctx, "k", &got) }, []string{"/:get/secure_test:get miss   1/0/0", "/:get miss   1/0/0"}},
		{"a write", func() { c.Set(ctx, "k", alice) }, []string{"/:set/secure_test:set ok   1/0/0", "/:set ok   1/0/0"}},
		{"a hit in the process", func() { c.Get(ctx, "k", &got) }, []string{"local get hit l1 "}},
		{"a loader", func() { v.GetOrLoad(ctx, "l", load) }, []string{
			"/:load/secure_test:get miss   1/0/0", "/:load/:loader ok   1/0/0", "/:load/secure_test:set ok   1/0/0", "/:load miss loader  1/0/0"}},
		{"a loaded value in the process", func() { v.GetOrLoad(ctx, "l", load) }, []string{"local load hit l1 "}},
		{"a loader's error", func() {
			v.GetOrLoad(ctx, "e", func(context.Context) (user, error) { return user{}, errors.New("secret text") })
		}, []string{"/:load/secure_test:get miss   1/0/0", "/:load/:loader error  loader 1/0/1", "/:load error  loader 1/0/1"}},
		{"a loader's panic", func() { v.GetOrLoad(ctx, "p", func(context.Context) (user, error) { panic("secret") }) },
			[]string{"/:load/secure_test:get miss   1/0/0", "/:load/:loader error  panic 1/0/1", "/:load error  panic 1/0/1"}},
		{"no such value", func() { v.GetOrLoad(ctx, "a", func(context.Context) (user, error) { return user{}, secure.ErrAbsent }) },
			[]string{"/:load/secure_test:get miss   1/0/0", "/:load/:loader absent   1/0/0", "/:load absent   1/0/0"}},
		{"no such value, remembered", func() { v.GetOrLoad(ctx, "a", load) }, []string{"local load absent l1 "}},
		{"an entry that is there", func() { c.Exists(ctx, "k") }, []string{"/:exists/secure_test:exists hit   1/1/0", "/:exists hit backend  1/1/0"}},
		{"a removal", func() { c.Delete(ctx, "k") }, []string{"/:delete/secure_test:delete ok   1/1/0", "/:delete ok   1/0/0"}},
		{"a forged entry", func() { f.plant("x", []byte("forged")); c.Get(ctx, "x", &got) },
			[]string{"/:get/secure_test:get hit   1/1/0", "/:get error  auth 1/0/1", "event auth_failure get "}},
		{"an outage", func() { f.setFault(outage); c.Get(ctx, "y", &got) },
			[]string{"/:get/secure_test:get error  transient 1/0/1", "/:get error  unavailable 1/0/1"}},
		{"a load in an outage", func() { v.GetOrLoad(ctx, "y", load); f.setFault(nil) }, []string{
			"/:load/secure_test:get error  transient 1/0/1", "event load_without_cache load unavailable", "/:load/:loader ok   1/0/0",
			"/:load/secure_test:set error  transient 1/0/1", "event load_without_cache store unavailable", "/:load miss loader  1/0/0"}},
		{"a key that cannot be", func() { c.SetTTL(ctx, "k", alice, -1) }, []string{"/:set error  ttl 1/0/1"}},
	}
	for _, s := range steps {
		s.do()
		if lines := w.take(); !slices.Equal(lines, s.want) {
			t.Errorf("%s:\n got %q\nwant %q", s.rule, lines, s.want)
		}
	}
	s := w.stats()
	if s.L1.Hits != 3 || s.BackendHits != 1 || s.Misses != 5 || s.Sets != 3 || s.Deletes != 1 || s.Loads != 5 || s.LoadFailures != 3 || s.Absorbed != 2 || s.AuthFailures != 1 || s.Seals != 3 {
		t.Errorf("counted %+v", s)
	}
	if w.attached != 1 {
		t.Errorf("attached %d times", w.attached)
	}
	c.Close()
	if c.Close(); w.attached != 0 {
		t.Error("Close did not detach")
	}
}

// Batches are one operation each, with the numbers of keys that were there and
// that failed.
func TestObserverOfBatches(t *testing.T) {
	ctx := t.Context()
	f, w := newFake(), new(watcher)
	c := open(t, f, func(o *secure.Options) { o.Observer, o.NoL1 = w.observer(), true })
	v := secure.For[user](c)
	f.plant("bad", []byte("forged"))
	if err := v.SetMany(ctx, map[string]user{"a": alice, "b": alice}); err != nil {
		t.Fatal(err)
	}
	v.GetMany(ctx, []string{"a", "b"})
	v.GetMany(ctx, []string{"a", "none", "bad"})
	v.GetOrLoadMany(ctx, []string{"a", "none"}, func(context.Context, []string) (map[string]user, error) { return map[string]user{"none": alice}, nil })
	c.DeleteMany(ctx, []string{"a", "b"})
	var own []string
	for _, l := range w.take() {
		if !strings.Contains(l, "/secure_test:") {
			own = append(own, l)
		}
	}
	want := []string{"/:set many ok   2/0/0", "/:get many hit   2/2/0", "event auth_failure get many ", "/:get many error  auth 3/1/1",
		"/:load many/:loader ok   1/0/0", "/:load many hit   2/2/0", "/:delete many ok   2/0/0"}
	if !slices.Equal(own, want) {
		t.Errorf("got  %q\nwant %q", own, want)
	}
}

// A background refresh has the values of the context of the call that served
// the stale entry, and ends after it.
func TestObserverOfRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, w := newFake(), new(watcher)
		c := open(t, f, func(o *secure.Options) { o.Observer, o.TTL = w.observer(), time.Hour })
		v := secure.For[user](c)
		v.Set(t.Context(), "k", alice)
		time.Sleep(40 * time.Minute)
		w.take()
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), stepKey{}, "request"))
		if _, err := v.GetOrLoad(ctx, "k", func(context.Context) (user, error) { return alice, nil }); err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		lines := w.take()
		if want := "request/:refresh miss loader  1/0/0"; lines[0] != "local load hit l1 " || lines[len(lines)-1] != want {
			t.Errorf("got %q, want the last to be %q", lines, want)
		}
	})
}

func TestObserverOfSharedLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(watcher)
		v := secure.For[user](open(t, newFake(), func(o *secure.Options) { o.Observer = w.observer() }))
		for range 3 {
			go v.GetOrLoad(t.Context(), "k", func(context.Context) (user, error) { time.Sleep(time.Second); return alice, nil })
		}
		time.Sleep(2 * time.Second)
		shared := 0
		for _, l := range w.take() {
			if l == "/:load miss loader  1/0/0 shared" {
				shared++
			}
		}
		if shared != 2 {
			t.Errorf("%d shared loads, want 2", shared)
		}
	})
}

// Changes of the circuit are told, and an observer that declines at Begin is not
// told of ends.
func TestObserverOfTheCircuitAndDeclined(t *testing.T) {
	f, w := newFake(), new(watcher)
	w.deaf = true
	c := open(t, f, func(o *secure.Options) {
		o.Observer, o.Reliability, o.ReliabilityOptions = w.observer(), secure.On, &resilient.Options{Attempts: 1, Failures: 2}
	})
	f.setFault(outage)
	var got user
	for range 3 {
		c.Get(t.Context(), "k", &got)
	}
	if lines := w.take(); !slices.Equal(lines, []string{"event circuit  "}) || w.begun != 6 {
		t.Errorf("got %q, %d begun", lines, w.begun)
	}
}

// A flood of failures is ten lines, then a count.
func TestLogIsSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log, w := newFake(), new(logs), new(watcher)
		c := open(t, f, func(o *secure.Options) { o.Logger, o.Observer = log.logger(), w.observer() })
		flood := func(n int) {
			f.plant("k", []byte("forged"))
			var got user
			for range n {
				c.Get(t.Context(), "k", &got)
			}
		}
		lines := func() int { return strings.Count(log.String(), "entry failed authentication") }
		flood(1000)
		if n := lines(); n != 10 {
			t.Errorf("%d lines of 1000 failures, want 10", n)
		}
		if n := c.Stats().AuthFailures; n != 1000 {
			t.Errorf("counted %d", n)
		}
		told := 0
		for _, l := range w.take() {
			if strings.HasPrefix(l, "event auth_failure") {
				told++
			}
		}
		if told != 1000 {
			t.Errorf("the observer was told %d times", told)
		}
		time.Sleep(11 * time.Second)
		if !strings.Contains(log.String(), "kind=auth_failure suppressed=990") {
			t.Errorf("the lines left out are not counted:\n%s", log)
		}
		flood(3)
		if n := lines(); n != 13 {
			t.Errorf("%d lines after the window, want 13", n)
		}
		flood(20)
		c.Close()
		if !strings.Contains(log.String(), "suppressed=13") {
			t.Errorf("Close did not log what was left out:\n%s", log)
		}
	})
}

// Stats are JSON, so that expvar can publish them.
func TestStatsThroughExpvar(t *testing.T) {
	c := open(t, newFake(), nil)
	if err := c.Set(t.Context(), "k", alice); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprint("cache ", time.Now().UnixNano()) // also with -count
	expvar.Publish(name, expvar.Func(func() any { return c.Stats() }))
	var got struct {
		Sets, Seals uint64
		L1          struct{ Entries int }
		Reliability struct{ State string }
		Keys        []struct{ Fingerprint string }
	}
	text := expvar.Get(name).String()
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if got.Sets != 1 || got.Seals != 1 || got.L1.Entries != 1 || len(got.Keys) != 1 || got.Keys[0].Fingerprint != c.Stats().Keys[0].Fingerprint.String() {
		t.Errorf("published %s", text)
	}
}

// The kinds of a backend's failure are told apart.
func TestObserverOfBackendKinds(t *testing.T) {
	f, w := newFake(), new(watcher)
	c := open(t, f, func(o *secure.Options) { o.Observer = w.observer() })
	for kind, want := range map[backends.Kind]string{backends.Timeout: "timeout", backends.Auth: "credentials", backends.TooLarge: "too_large", backends.Overload: "overload", backends.CircuitOpen: "circuit_open", backends.Permanent: "permanent"} {
		f.setFault(func(string, string) error { return &backends.Error{Op: "get", Backend: "fake", Kind: kind} })
		var got user
		c.Get(t.Context(), "k", &got)
		if lines := w.take(); !strings.Contains(lines[0], "error  "+want+" ") {
			t.Errorf("%v: %q", kind, lines)
		}
	}
}
