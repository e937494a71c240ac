package backendtest

import (
	"slices"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// Harness says how to open a storage and what it is allowed to lack.
type Harness struct {
	// Open returns a backend on a storage that is empty and used by nobody
	// else. It is called for every case, often several times, and cleans up by
	// tb.Cleanup: the backend is closed by then, or closed twice. Required.
	Open func(tb testing.TB) Subject

	// Want names the capabilities that the backend must have: "Batcher",
	// "BatchReader", "EntryReader", "TTLer", "Locker", "BatchLocker", "Scanner", "Swapper",
	// "BatchSwapper", "Rewriter", "Replacer", "KeyRuler", "Watcher".
	Want []string

	// Without excuses what a Subject does not offer, by the name of its field
	// ("Other", "Stall", "Kill", "Raw"), and what a storage cannot do. The value
	// is the reason.
	//
	//	EntryTTL       an EntryReader cannot tell the remaining TTL
	//	DeleteReport   Delete cannot tell whether there was an entry: it says true
	//	UnlockReport   Unlock cannot tell whether the lock was held: it says true
	//	TouchNoExpiry  Touch cannot take an expiry away: a *backends.Error of kind Permanent
	//	LongTTL        a TTL over MaxTTL is not shortened but refused with ErrTTL
	Without map[string]string

	// Granularity is the step of the storage's clock: how much longer than
	// asked an entry may live. Default 1 ms.
	Granularity time.Duration

	// MaxTTL is the longest TTL that the storage keeps; it shortens a longer
	// one, NoExpiry excepted, to this. Default: no limit.
	MaxTTL time.Duration

	// MaxValue is the largest value in bytes that the storage accepts; one
	// byte more must be refused as too large. 0 means a limit out of the
	// reach of a test: 8 MiB must fit, and no refusal is tried.
	MaxValue int
}

// Subject is one storage with a backend on it, and the means to disturb it.
type Subject struct {
	// Backend is what is judged. Required.
	Backend backends.Backend

	// Other opens a second backend on the same storage, as another process
	// would. It is not affected by Stall.
	Other func(tb testing.TB) backends.Backend

	// Stall turns the network between Backend and its server into a black
	// hole: connections are accepted and bytes are taken, but nothing arrives
	// and nothing is answered. Resume lets the bytes pass again, those that
	// were taken meanwhile included (but for connections that the client
	// reset). Both are set, or neither.
	Stall, Resume func()

	// Kill makes the server of Backend unreachable for good.
	Kill func()

	// Raw returns the value of key as it lies in the storage, read without any
	// backend, or nil if there is none. Where the storage frames a value, Raw
	// checks and removes the documented framing.
	Raw func(tb testing.TB, key string) []byte

	// Advance moves the clock of the storage. If it is nil, the suite waits.
	Advance func(d time.Duration)

	// Secrets are the credentials that Backend was given: no error and no
	// health report may contain one.
	Secrets []string
}

// Run runs every case that applies to h, each as a subtest.
func Run(t *testing.T, h Harness) {
	has := h.check(t)
	r := newRecord(t, h, has)
	for _, c := range Cases() {
		if lacks := c.lacks(has); len(lacks) > 0 {
			r.Cases[c.Name] = Outcome{Lacks: lacks}
			continue
		}
		ran := false
		passed := t.Run(c.Name, func(t *testing.T) { ran = true; c.Run(t, h) })
		if ran {
			r.Cases[c.Name] = Outcome{Passed: passed}
		}
	}
	r.write(t)
}

// check fails if h is incomplete, and returns the names of what it offers.
func (h Harness) check(t *testing.T) []string {
	t.Helper()
	if h.Open == nil {
		t.Fatal("backendtest: Harness.Open is nil")
	}
	p := newProbe(t, h, "a harness offers every means of judging, or says why it cannot")
	defer p.end()
	s := p.open()
	has := capabilityNames(s.Backend)
	for _, name := range h.Want {
		if !slices.Contains(has, name) {
			t.Errorf("backendtest: the backend has no %s, but Harness.Want names it", name)
		}
	}
	if (s.Stall == nil) != (s.Resume == nil) {
		t.Error("backendtest: Subject.Stall and Subject.Resume belong together")
	}
	means := map[string]bool{
		"Other": s.Other != nil, "Stall": s.Stall != nil, "Kill": s.Kill != nil, "Raw": s.Raw != nil,
	}
	for _, name := range []string{"EntryTTL", "DeleteReport", "UnlockReport", "TouchNoExpiry", "LongTTL"} {
		means[name] = h.can(name)
	}
	for name, offered := range means {
		reason, excused := h.Without[name]
		switch {
		case offered:
			has = append(has, name)
		case reason == "":
			t.Errorf("backendtest: Subject.%s is nil; offer it, or give the reason in Harness.Without[%q]", name, name)
		}
		if offered && excused {
			t.Errorf("backendtest: Harness.Without[%q] excuses what is there, or gives no reason", name)
		}
	}
	if h.MaxValue > 0 {
		has = append(has, "MaxValue")
	}
	for name := range h.Without {
		if _, ok := means[name]; !ok {
			t.Errorf("backendtest: Harness.Without has the unknown name %q", name)
		}
	}
	return has
}

// can reports whether the storage is not excused from name.
func (h Harness) can(name string) bool { return h.Without[name] == "" }

// Capabilities returns the names that Harness.Want knows.
func Capabilities() []string {
	return []string{"Batcher", "BatchReader", "EntryReader", "TTLer", "Locker", "BatchLocker", "Scanner", "Swapper", "BatchSwapper", "Rewriter", "Replacer", "KeyRuler", "Watcher"}
}

func capabilityNames(b backends.Backend) []string {
	c := backends.CapabilitiesOf(b)
	there := []bool{
		c.Batcher != nil, c.BatchReader != nil, c.EntryReader != nil, c.TTLer != nil, c.Locker != nil,
		c.BatchLocker != nil, c.Scanner != nil, c.Swapper != nil, c.BatchSwapper != nil, c.Rewriter != nil, c.Replacer != nil, c.KeyRuler != nil,
		c.Watcher != nil,
	}
	var names []string
	for i, name := range Capabilities() {
		if there[i] {
			names = append(names, name)
		}
	}
	return names
}
