package faults_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
	"github.com/cachekit-io/cachekit-go/backends/memcachedbackend"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/secure"
)

func init() { roles["soak worker"] = soakWorker }

const soakEnv = "CACHEKIT_FAULTS_SOAK"

// soakPlan is what the soak tells a worker.
type soakPlan struct {
	// Worker and Life name the worker: a killed one is followed by its next
	// life, which has keys of its own.
	Worker, Life, Workers int
	RedisURL, Memcached   string
	// Dir is shared by all: the file backend's entries, the lives of the
	// workers, the generations of the storages, and the reports.
	Dir   string
	Until time.Time
	// Pause is how long each caller waits between two calls.
	Pause time.Duration
	// Sample is the time between two looks at memory and goroutines.
	Sample time.Duration
}

// keysOfCaller is how many keys each caller writes, loadKeys how many keys are
// loaded by all.
const (
	keysOfCaller = 25
	loadKeys     = 60
	callers      = 2
)

func (p soakPlan) path(parts ...any) string {
	return filepath.Join(p.Dir, strings.ReplaceAll(fmt.Sprint(parts...), " ", "-"))
}

// number reads a file that holds a number; 0 if there is none.
func number(path string) int {
	text, _ := os.ReadFile(path)
	n, _ := strconv.Atoi(string(text))
	return n
}

// putNumber replaces a file that others read at the same time.
func putNumber(path string, n int) error {
	if err := os.WriteFile(path+".new", []byte(strconv.Itoa(n)), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// generation counts the deaths of a storage that keeps nothing: it is odd from
// before the kill until after the restart.
func (p soakPlan) generation(backend string) int { return number(p.path("generation ", backend)) }

func (p soakPlan) open(ctx context.Context, backend string) (backends.Backend, error) {
	switch backend {
	case "redis":
		return redisbackend.Open(ctx, p.RedisURL, &redisbackend.Options{Timeout: time.Second})
	case "memcached":
		return memcachedbackend.Open(ctx, p.Memcached, nil)
	}
	return filebackend.Open(p.path("entries"), &filebackend.Options{SweepInterval: 10 * time.Second})
}

var soakBackends = []string{"redis", "memcached", "file"}

// pair is two caches of a process over one storage: one with an in-process
// layer and the reliability stack, one with neither.
type pair struct {
	backend string
	caches  map[string]*secure.Cache
	close   []func() error
}

// newPair tries until it succeeds: a storage may be in trouble just now.
func newPair(ctx context.Context, plan soakPlan, backend string) (*pair, error) {
	p := &pair{backend: backend, caches: map[string]*secure.Cache{}}
	for profile := range profiles {
		b, err := plan.open(ctx, backend)
		for err != nil && ctx.Err() == nil {
			time.Sleep(50 * time.Millisecond)
			b, err = plan.open(ctx, backend)
		}
		if err != nil {
			return nil, err
		}
		c, err := newCache(ctx, profile, b, func(o *secure.Options) {
			o.LoadTimeout = 2 * time.Second
			o.TTL = 5 * time.Second // of what is loaded
			if profile == "minimal" {
				o.NoL1 = true
			} else {
				o.L1Bytes = 1 << 20
			}
		})
		if err != nil {
			return nil, err
		}
		p.caches[profile] = c
		p.close = append(p.close, c.Close, b.Close)
	}
	return p, nil
}

// soakWorker is the main function of a worker.
func soakWorker() error {
	var plan soakPlan
	if err := json.Unmarshal([]byte(os.Getenv(soakEnv)), &plan); err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(context.Background(), plan.Until)
	defer cancel()
	if err := putNumber(plan.path("life ", plan.Worker), plan.Life); err != nil {
		return err
	}
	before := runtime.NumGoroutine()
	r := newWorkerReport(plan)
	var pairs []*pair
	for _, backend := range soakBackends {
		p, err := newPair(ctx, plan, backend)
		if err != nil {
			return fmt.Errorf("%s: %w", backend, err)
		}
		pairs = append(pairs, p)
	}
	var wg sync.WaitGroup
	for _, p := range pairs {
		for profile := range profiles {
			for i := range callers {
				c := newCaller(plan, r, p, profile, i)
				wg.Go(func() { c.run(ctx) })
			}
		}
	}
	wg.Go(func() { r.watch(ctx) })
	wg.Go(func() { r.tick(ctx) })
	wg.Wait()
	var err error
	for _, p := range pairs {
		for _, c := range p.close {
			err = errors.Join(err, c())
		}
	}
	r.Leaked = leaked(before)
	return errors.Join(err, r.write())
}

// leaked waits until no more goroutines run than before and returns how many
// are left over. A go-redis pool that could not dial takes a second to end.
func leaked(before int) int {
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return 0
		}
		time.Sleep(50 * time.Millisecond)
	}
	return runtime.NumGoroutine() - before
}

// knowledge is what a caller knows of a key that it alone writes.
type knowledge struct {
	// known: the last write was acknowledged.
	known bool
	// failed: an earlier write had an unknown outcome.
	failed bool
	// version is what must be there, 0 for nothing.
	version int64
	// generation is the storage's, from before the write was sent.
	generation int
}

// caller is one goroutine of a worker that uses one cache, and reads behind the
// back of the other.
type caller struct {
	plan    soakPlan
	report  *workerReport
	pair    *pair
	profile string
	view    secure.View[value]
	prefix  string
	keys    [keysOfCaller]knowledge
	rng     *rand.Rand
}

func newCaller(plan soakPlan, r *workerReport, p *pair, profile string, i int) *caller {
	return &caller{
		plan: plan, report: r, pair: p, profile: profile, view: secure.For[value](p.caches[profile]),
		prefix: callerPrefix(plan.Worker, plan.Life, profile, i), rng: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
	}
}

func callerPrefix(worker, life int, profile string, i int) string {
	return fmt.Sprintf("w%d.%d-%s%d-", worker, life, profile, i)
}

func (c *caller) run(ctx context.Context) {
	for ctx.Err() == nil {
		switch i, n := c.rng.IntN(keysOfCaller), c.rng.IntN(100); {
		case n < 30:
			c.set(i)
		case n < 40:
			c.remove(i)
		case n < 65:
			c.readOwn(i, c.view, c.profile)
		case n < 75:
			c.readOwn(i, secure.For[value](c.pair.caches["minimal"]), "minimal")
		case n < 85:
			c.readForeign()
		default:
			c.load()
		}
		time.Sleep(c.plan.Pause)
	}
}

var patience = []time.Duration{20 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second}

// timed runs one call under a deadline, sometimes under a cancel that comes
// before it, and reports when it returned.
func (c *caller) timed(op, profile string, f func(ctx context.Context) error) error {
	limit := patience[c.rng.IntN(len(patience))]
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if c.rng.IntN(10) == 0 {
		limit = time.Duration(c.rng.Int64N(int64(limit)))
		defer time.AfterFunc(limit, cancel).Stop()
	}
	start := time.Now()
	err := f(ctx)
	c.report.called(call{c.pair.backend, profile, op}, err, start, limit)
	return err
}

func (c *caller) key(i int) string { return c.prefix + strconv.Itoa(i) }

func (c *caller) set(i int) {
	k := &c.keys[i]
	generation, version := c.plan.generation(c.pair.backend), time.Now().UnixNano()
	err := c.timed("Set", c.profile, func(ctx context.Context) error {
		return c.view.SetTTL(ctx, c.key(i), newValue(c.key(i), version), 3*time.Hour)
	})
	c.wrote(k, err, version, generation)
}

func (c *caller) remove(i int) {
	k := &c.keys[i]
	generation := c.plan.generation(c.pair.backend)
	err := c.timed("Delete", c.profile, func(ctx context.Context) error {
		_, err := c.view.Delete(ctx, c.key(i))
		return err
	})
	c.wrote(k, err, 0, generation)
}

func (c *caller) wrote(k *knowledge, err error, version int64, generation int) {
	if err != nil {
		k.known, k.failed = false, true
		c.report.count("writes of unknown outcome", 1)
		return
	}
	k.known, k.version, k.generation = true, version, generation
}

// readOwn reads a key that only this caller writes: what is there is known.
func (c *caller) readOwn(i int, from secure.View[value], profile string) {
	k := &c.keys[i]
	v, found, err := c.get(from, profile, c.key(i))
	if err != nil || !k.known {
		return
	}
	c.report.count("reads checked against the last write", 1)
	after := ""
	if k.failed {
		after = ", though an earlier write of the key had failed"
	}
	switch {
	case found && k.version == 0:
		c.report.wrong(c.pair.backend, profile, "a deleted entry is back"+after)
	case found && v.Version != k.version:
		c.report.wrong(c.pair.backend, profile, "another version than the last written"+after)
	case found || k.version == 0:
		return
	case c.plan.generation(c.pair.backend) > k.generation:
		c.report.count("entries lost with a killed server", 1)
		k.known = false
		return
	default:
		c.report.wrong(c.pair.backend, profile, "an acknowledged write is lost"+after)
	}
	k.known = false // report it once
}

func (c *caller) get(from secure.View[value], profile, key string) (v value, found bool, err error) {
	err = c.timed("Get", profile, func(ctx context.Context) (err error) {
		v, found, err = from.Get(ctx, key)
		return err
	})
	if found && err == nil {
		c.checked(profile, key, v)
	}
	return v, found, err
}

func (c *caller) checked(profile, key string, v value) {
	c.report.count("values looked at", 1)
	if !v.isOf(key) {
		c.report.wrong(c.pair.backend, profile, "a value that is not of its key, or not whole")
	}
}

// readForeign reads a key of some caller of some worker.
func (c *caller) readForeign() {
	worker := c.rng.IntN(c.plan.Workers)
	profile := []string{"secure", "minimal"}[c.rng.IntN(2)]
	prefix := callerPrefix(worker, number(c.plan.path("life ", worker)), profile, c.rng.IntN(callers))
	_, _, _ = c.get(c.view, c.profile, prefix+strconv.Itoa(c.rng.IntN(keysOfCaller)))
}

// load reads a key that every process loads, by a loader of any character.
func (c *caller) load() {
	key := "load-" + strconv.Itoa(c.rng.IntN(loadKeys))
	kind := c.rng.IntN(100)
	var v value
	err := c.timed("GetOrLoad", c.profile, func(ctx context.Context) (err error) {
		v, err = c.view.GetOrLoad(ctx, key, func(ctx context.Context) (value, error) {
			switch {
			case kind < 4:
				return value{}, errMine
			case kind < 8:
				panic("a loader that panics")
			case kind < 12:
				runtime.Goexit()
			case kind < 16:
				<-ctx.Done()
				return value{}, ctx.Err()
			}
			return newValue(key, 0), nil
		})
		return err
	})
	if err == nil {
		c.checked(c.profile, key, v)
	}
}
