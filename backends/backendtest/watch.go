package backendtest

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// reportLimit bounds how long a suite waits for a report: for connecting again
// after a black hole, on a machine that is busy with other tests.
const reportLimit = 20 * time.Second

// recorder is a WatchHandler that writes down what it is told.
type recorder struct {
	running atomic.Int32
	overlap atomic.Bool

	mu      sync.Mutex
	up      bool
	ups     int
	late    bool // called after it was stopped
	stopped bool
	flushed bool // anything may have changed since the last clear
	changed map[string]bool
}

func (r *recorder) event(f func()) {
	if r.running.Add(1) > 1 {
		r.overlap.Store(true)
	}
	runtime.Gosched()
	r.mu.Lock()
	r.late = r.late || r.stopped
	f()
	r.mu.Unlock()
	r.running.Add(-1)
}

func (r *recorder) Up()    { r.event(func() { r.up = true; r.ups++; r.flushed = true }) }
func (r *recorder) Down()  { r.event(func() { r.up = false; r.flushed = true }) }
func (r *recorder) Flush() { r.event(func() { r.flushed = true }) }
func (r *recorder) Changed(keys []string) {
	r.event(func() {
		for _, k := range keys {
			r.changed[k] = true
		}
	})
}

func (r *recorder) isUp() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.up
}

// clear forgets what was reported.
func (r *recorder) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed, r.flushed = map[string]bool{}, false
}

// heard reports whether a copy of key would be gone.
func (r *recorder) heard(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed[key] || r.flushed
}

// watch starts a watch and waits until it is up.
func (t *probe) watch(b backends.Backend, prefix string) (*recorder, func()) {
	t.Helper()
	r := &recorder{changed: map[string]bool{}}
	stop, err := backends.CapabilitiesOf(b).Watcher.Watch(prefix, r)
	if err != nil {
		t.Fatalf("Watch = %v", err)
	}
	t.Cleanup(func() {
		stop()
		if r.overlap.Load() {
			t.Errorf("the calls of a handler overlap")
		}
	})
	t.becomes(r.isUp, "Up is reported")
	r.clear()
	return r, stop
}

func (t *probe) becomes(done func() bool, what string) {
	t.Helper()
	if !eventually(reportLimit, done) {
		t.Fatalf("it does not come about within %v that %s", reportLimit, what)
	}
}

// changes is every way in which a client can change an entry, each on a key of
// its own that has the value "old".
func changes(b backends.Backend, t *probe) map[string]func(key string) error {
	caps := backends.CapabilitiesOf(b)
	all := map[string]func(string) error{
		"set":    func(k string) error { return b.Set(t.ctx, k, payload("new", 30), hour) },
		"delete": func(k string) error { _, err := b.Delete(t.ctx, k); return err },
	}
	if c := caps.Batcher; c != nil {
		all["setmany"] = func(k string) error {
			return errors.Join(c.SetMany(t.ctx, []backends.Item{{Key: k, Value: payload("new", 30), TTL: hour}})...)
		}
		all["deletemany"] = func(k string) error { return c.DeleteMany(t.ctx, []string{k})[0].Err }
	}
	if c := caps.Swapper; c != nil {
		all["swap"] = func(k string) error {
			ok, err := c.Swap(t.ctx, k, payload("old", 30), payload("new", 30))
			if !ok && err == nil {
				err = errors.New("nothing was swapped")
			}
			return err
		}
	}
	if c := caps.Replacer; c != nil {
		all["replace"] = func(k string) error {
			ok, err := c.Replace(t.ctx, k, payload("old", 30), payload("new", 30), hour)
			if !ok && err == nil {
				err = errors.New("nothing was replaced")
			}
			return err
		}
	}
	return all
}

func watchCases() []Case {
	return []Case{
		{Name: "Watch", Rule: "every kind of change by others under the prefix is reported, no other key is, and a read then finds the change", Needs: []string{"Watcher", "Other"}, run: func(t *probe) {
			s := t.open()
			writer := t.other(s)
			all := changes(writer, t)
			for name := range all {
				t.set(writer, key("in."+name), payload("old", 30), hour)
				t.set(writer, key("out."+name), payload("old", 30), hour)
			}
			r, _ := t.watch(s.Backend, key("in."))
			for name, change := range all {
				for _, k := range []string{key("out." + name), key("in." + name)} {
					if err := change(k); err != nil {
						t.Fatalf("%s = %v", name, err)
					}
				}
				t.becomes(func() bool { return r.heard(key("in." + name)) }, "a "+name+" is reported")
				if v, err := s.Backend.Get(t.ctx, key("in."+name)); !errors.Is(err, backends.ErrNotFound) && (err != nil || !slices.Equal(v, payload("new", 30))) {
					t.Errorf("a read after the report of a %s gets %d bytes, %v", name, len(v), err)
				}
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			for k := range r.changed {
				if !strings.HasPrefix(k, key("in.")) {
					t.Errorf("a key that does not have the prefix is reported")
				}
			}
		}},
		{Name: "WatchMany", Rule: "watches of one backend, nested prefixes included, each hear of their keys, however many change at once", Needs: []string{"Watcher", "Other"}, run: func(t *probe) {
			s := t.open()
			writer := t.other(s)
			inner, _ := t.watch(s.Backend, key("a."))
			outer, _ := t.watch(s.Backend, "")
			beside, stop := t.watch(s.Backend, key("b."))
			twice, _ := t.watch(s.Backend, key("a."))
			for _, r := range []*recorder{inner, outer, beside, twice} {
				t.becomes(r.isUp, "all watches are up")
			}
			stop()
			const n = 200
			t.parallel(8, func(g int) error {
				for i := range n / 8 {
					if err := writer.Set(t.ctx, key(fmt.Sprint("a.", g, ".", i)), payload("v", 10), hour); err != nil {
						return err
					}
				}
				return writer.Set(t.ctx, key(fmt.Sprint("b.", g)), payload("v", 10), hour)
			})
			for g := range 8 {
				for i := range n / 8 {
					k := key(fmt.Sprint("a.", g, ".", i))
					t.becomes(func() bool { return inner.heard(k) && outer.heard(k) && twice.heard(k) }, "every change is reported to every watch")
				}
				t.becomes(func() bool { return outer.heard(key(fmt.Sprint("b.", g))) }, "every change is reported to the watch of everything")
			}
		}},
		{Name: "WatchEnds", Rule: "after stop or Close nothing is reported, and a closed backend watches nothing", Needs: []string{"Watcher", "Other"}, once: true, run: func(t *probe) {
			s := t.open()
			writer := t.other(s)
			stopped, stop := t.watch(s.Backend, "")
			closed, _ := t.watch(s.Backend, "")
			stop()
			stop()
			stopped.mu.Lock()
			stopped.stopped = true
			stopped.mu.Unlock()
			t.set(writer, key("k"), payload("v", 10), hour)
			t.becomes(func() bool { return closed.heard(key("k")) }, "a change is reported to the watch that goes on")
			if err := t.within(reportLimit, "Close of a backend that is watching", s.Backend.Close); err != nil {
				t.Errorf("Close = %v", err)
			}
			closed.mu.Lock()
			closed.stopped = true
			closed.mu.Unlock()
			t.set(writer, key("k"), payload("v", 10), hour)
			_, err := backends.CapabilitiesOf(s.Backend).Watcher.Watch("", &recorder{})
			t.failed("Watch of a closed backend", err, backends.ErrClosed)
			for _, r := range []*recorder{stopped, closed} {
				r.mu.Lock()
				if r.late {
					t.Errorf("a handler is called after stop or Close")
				}
				r.mu.Unlock()
			}
		}},
		{Name: "WatchRecovers", Rule: "a black hole is reported as Down; Up comes by itself when the network is back, and changes are reported again", Needs: []string{"Watcher", "Other", "Stall"}, once: true, run: func(t *probe) {
			s := t.open()
			writer := t.other(s)
			r, _ := t.watch(s.Backend, keyCanary)
			for i := range 2 {
				s.Stall()
				t.becomes(func() bool { return !r.isUp() }, "Down is reported")
				t.set(writer, key("k"), payload("v", 10), hour)
				s.Resume()
				t.becomes(r.isUp, "Up is reported again")
				r.clear()
				t.set(writer, key(fmt.Sprint(i)), payload("v", 10), hour)
				t.becomes(func() bool { return r.heard(key(fmt.Sprint(i))) }, "a change is reported")
			}
		}},
		{Name: "WatchDown", Rule: "a server that is gone is reported as Down, and Close does not wait for it", Needs: []string{"Watcher", "Kill"}, once: true, run: func(t *probe) {
			s := t.open()
			r, _ := t.watch(s.Backend, "")
			s.Kill()
			t.becomes(func() bool { return !r.isUp() }, "Down is reported")
			if err := t.within(reportLimit, "Close of a backend that is watching", s.Backend.Close); err != nil {
				t.Errorf("Close = %v", err)
			}
		}},
	}
}
