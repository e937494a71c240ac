package faults_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
	"github.com/cachekit-io/cachekit-go/backends/memcachedbackend"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/secure"
)

// behaviours are faults of a program and of other processes, not of a storage.
// Each has a procedure of its own, which fills in the row.
var behaviours = []behaviour{
	{name: "loader panics", what: "The loader panics: every waiter gets an error, and the next call loads.",
		on: everywhere, run: badLoader("panic error", func(context.Context) { panic("a loader that panics") })},
	{name: "loader exits its goroutine", what: "The loader calls runtime.Goexit.",
		on: everywhere, run: badLoader("loader exited", func(context.Context) { runtime.Goexit() })},
	{name: "loader blocks", what: "The loader returns when its own context ends, which is long after that of the callers.",
		on: everywhere, run: badLoader("deadline", func(ctx context.Context) { <-ctx.Done() })},
	{name: "10,000 callers of one key", what: "10,000 goroutines call GetOrLoad of one key that nobody has.",
		on: except("dynamodb"), run: func(c *cell) { crowd(c, 1) }, crowd: true, patient: true},
	{name: "10,000 callers of 10,000 keys", what: "10,000 goroutines call GetOrLoad, each of a key of its own.",
		on: only("redis", "memcached"), run: func(c *cell) { crowd(c, callersOfCrowd) }, crowd: true, patient: true},
	{name: "a process is killed while it holds the fill lock", what: "Another process has begun to load the key, holds its lock and is killed (SIGKILL).",
		on: only("redis", "memcached", "file"), run: deadOwner, patient: true},
	{name: "the fill lock is never released", what: "The lock of the key is taken for five seconds by somebody who neither loads nor releases.",
		on: only("cachekitio", "dynamodb"), run: forgottenLock, patient: true},
	{name: "disk full", what: "The file system has no room for the value of Set and GetOrLoad, and is made larger then.",
		on: only("file"), run: fullDisk},
}

type behaviour struct {
	name, what string
	on         func(backend string) bool
	run        func(*cell)
	// patient lets loads take as long as they take by default.
	patient bool
	// crowd wants the machine for itself.
	crowd bool
	// serial: the cell is one of TestClocks, alone with a server of its own.
	serial, alone bool
}

func everywhere(string) bool { return true }

func only(names ...string) func(string) bool {
	return func(backend string) bool { return strings.Contains(strings.Join(names, " "), backend) }
}

func except(name string) func(string) bool {
	return func(backend string) bool { return backend != name }
}

// badLoader has 20 callers wait for a loader that does not return a value; the
// next one, with a good loader, must get it.
func badLoader(want string, misbehave func(context.Context)) func(*cell) {
	return func(c *cell) {
		const short = 300 * time.Millisecond
		classes := map[string]int{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				class := c.call(short, []string{want}, func(ctx context.Context) (string, error) {
					_, err := c.view.GetOrLoad(ctx, "bad", func(ctx context.Context) (value, error) {
						misbehave(ctx)
						return value{}, ctx.Err()
					})
					return "ok", err
				})
				mu.Lock()
				defer mu.Unlock()
				classes[class]++
			})
		}
		wg.Wait()
		c.row.Load = fmt.Sprintf("%s (20 of 20)", want)
		if classes[want] != 20 { // a slow machine ends some contexts before
			c.row.Load = fmt.Sprint(classes)
		}
		c.nextLoad("bad")
	}
}

// nextLoad checks that key is not poisoned.
func (c *cell) nextLoad(key string) {
	start := time.Now()
	if !within(recovery, func(ctx context.Context) bool { said, err := c.getOrLoad(ctx, key); return err == nil && said == "ok" }) {
		c.row.Back = "NO"
		c.errorf("the key is poisoned")
		return
	}
	c.row.Back = took(time.Since(start))
}

// crowd calls GetOrLoad of n keys by callersOfCrowd goroutines at once.
func crowd(c *cell, n int) {
	const limit = time.Minute // a SYN that finds a full backlog is sent again after 1, 3, 7, 15 and 31 s
	var loads, ok, wrong atomic.Int64
	var late atomic.Int64
	classes := sync.Map{}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range callersOfCrowd {
		key := fmt.Sprint("crowd-", i%n)
		wg.Go(func() {
			<-start
			v, err := c.view.GetOrLoad(ctx, key, func(context.Context) (value, error) {
				loads.Add(1)
				time.Sleep(20 * time.Millisecond)
				return newValue(key, 1), nil
			})
			end, _ := ctx.Deadline()
			late.Store(max(late.Load(), int64(time.Since(end))))
			switch {
			case err != nil:
				classes.Store(classOf(err), true)
			case v.isOf(key):
				ok.Add(1)
			default:
				wrong.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	c.row.Load = fmt.Sprintf("%d ok, %s", ok.Load(), counted(loads.Load(), "load"))
	if by := time.Duration(late.Load()); by > slack {
		c.late(by)
	}
	if wrong.Load() > 0 {
		c.row.Wrong = "WRONG"
		c.errorf("%d wrong values", wrong.Load())
	}
	// On a machine that is slower than the backend's time limit a value is not
	// stored, and who comes after its load loads again.
	again := int64(c.cache.Stats().Absorbed)
	if ok.Load() != callersOfCrowd || loads.Load() < int64(n) || loads.Load() > int64(n)+again {
		seen := []string{}
		classes.Range(func(class, _ any) bool { seen = append(seen, fmt.Sprint(class)); return true })
		c.errorf("%d callers got a value and %d loads ran, want %d and %d; errors: %v", ok.Load(), loads.Load(), callersOfCrowd, n, seen)
	}
	c.nextLoad("after-the-crowd")
}

func counted(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// deadOwner has a child load "owned", and kills it in the middle.
func deadOwner(c *cell) {
	p := startRole(c.t, "owner", append(c.rig.env, fmt.Sprintf("%s=cell-%d", namespaceEnv, c.number))...)
	begun := within(recovery, func(context.Context) bool { return p.Exited() || strings.Contains(p.Log(), "loading") })
	if !begun || p.Exited() {
		c.errorf("the child does not load: %s", p.Log())
		return
	}
	p.Stop()
	c.waitsForLock("owned")
}

// waitsForLock checks that calls end with their context while the lock stands,
// and that the load runs when its lease is over.
func (c *cell) waitsForLock(key string) {
	c.hastyCalls()
	start := time.Now()
	c.row.Load = c.call(recovery, fine, func(ctx context.Context) (string, error) { return c.getOrLoad(ctx, key) })
	c.row.Back = took(time.Since(start))
	if waited := time.Since(start); waited > 12*time.Second {
		c.errorf("the load waited for %v, want the lease of 5 s at most", waited)
	}
}

func forgottenLock(c *cell) {
	b, err := c.rig.direct(context.Background())
	if err != nil {
		c.errorf("%v", err)
		return
	}
	defer b.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	if _, err := backends.CapabilitiesOf(b).Locker.Lock(ctx, fmt.Sprintf("cell-%d:owned", c.number), 5*time.Second); err != nil {
		c.errorf("lock: %v", err)
		return
	}
	c.waitsForLock("owned")
}

func took(d time.Duration) string {
	if d < time.Second {
		return "below 1 s"
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}

const (
	// storageEnv tells a child which storage to open: its name and address.
	storageEnv   = "CACHEKIT_FAULTS_STORAGE"
	namespaceEnv = "CACHEKIT_FAULTS_NAMESPACE"
)

func init() { roles["owner"] = owner }

// owner loads "owned" until it is killed.
func owner() error {
	ctx := context.Background()
	name, addr, _ := strings.Cut(os.Getenv(storageEnv), " ")
	var b backends.Backend
	var err error
	switch name {
	case "redis":
		b, err = redisbackend.Open(ctx, addr, nil)
	case "memcached":
		b, err = memcachedbackend.Open(ctx, addr, nil)
	default:
		b, err = filebackend.Open(addr, nil)
	}
	if err != nil {
		return err
	}
	c, err := newCache(ctx, "secure", b, func(o *secure.Options) { o.Namespace = os.Getenv(namespaceEnv) })
	if err != nil {
		return err
	}
	_, err = secure.For[value](c).GetOrLoad(ctx, "owned", func(ctx context.Context) (value, error) {
		fmt.Println("loading")
		<-ctx.Done()
		return value{}, ctx.Err()
	})
	return err
}
