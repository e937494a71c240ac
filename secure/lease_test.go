package secure_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

// The child loads one hot key, or several, when told to, and reports what it got. Its
// loader counts itself in Redis. In the test binary itself it does nothing.
func TestFillChild(t *testing.T) {
	url, mode := os.Getenv("CACHEKIT_TEST_FILL"), os.Getenv("CACHEKIT_TEST_MODE")
	if url == "" {
		return
	}
	parsed, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	db := redis.NewClient(parsed)
	defer db.Close()
	clean(t)
	t.Setenv("CACHEKIT_REDIS_URL", url)
	opts := &secure.Options{Namespace: "hot", MasterKey: key(t, "1")}
	if mode == "off" {
		opts.FillLock = secure.Off
	}
	c, err := secure.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	db.Incr(ctx, "ready")
	for db.Get(ctx, "go").Err() != nil {
		time.Sleep(2 * time.Millisecond)
	}
	if mode == "hangs with many" {
		_, err = secure.For[string](c).GetOrLoadMany(ctx, numbered(0, 100), func(context.Context, []string) (map[string]string, error) {
			db.Incr(ctx, "loads")
			time.Sleep(time.Hour)
			return nil, nil
		})
		t.Fatal(err)
	}
	got, err := secure.For[string](c).GetOrLoad(ctx, "key", func(context.Context) (string, error) {
		n := db.Incr(ctx, "loads").Val()
		if mode == "hangs" {
			time.Sleep(time.Hour)
		}
		time.Sleep(500 * time.Millisecond)
		return fmt.Sprint("load ", n), nil
	})
	db.RPush(ctx, "results", fmt.Sprint(got, " ", err))
}

// fleet starts n processes on s that load the key as soon as "go" is set.
func fleet(t *testing.T, s *testenv.RedisServer, n int, mode string) []*testenv.Process {
	t.Helper()
	var out []*testenv.Process
	for range n {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFillChild$")
		cmd.Env = append(os.Environ(), "CACHEKIT_TEST_FILL="+s.URL(), "CACHEKIT_TEST_MODE="+mode)
		out = append(out, testenv.Start(t, cmd))
	}
	waitFor(t, s, "ready", n)
	return out
}

// waitFor waits until a counter has reached n.
func waitFor(t *testing.T, s *testenv.RedisServer, counter string, n int) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for fmt.Sprint(s.Do("GET", counter)) != fmt.Sprint(n) {
		if time.Now().After(deadline) {
			t.Fatalf("%s is %v after a minute, want %d", counter, s.Do("GET", counter), n)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// results waits for what n processes got.
func results(t *testing.T, s *testenv.RedisServer, n int64) []any {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for s.Do("LLEN", "results") != n {
		if time.Now().After(deadline) {
			t.Fatalf("%v of %d processes have answered after a minute", s.Do("LLEN", "results"), n)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return s.Do("LRANGE", "results", "0", "-1").([]any)
}

// Eight processes that miss one hot key at once run its loader once, and all get
// its value; with the option off, each runs its own.
func TestOneLoadInTheFleet(t *testing.T) {
	for mode, loads := range map[string]string{"on": "1", "off": "8"} {
		s := testenv.Redis(t, nil)
		fleet(t, s, 8, mode)
		s.Do("SET", "go", "1")
		got := results(t, s, 8)
		if n := fmt.Sprint(s.Do("GET", "loads")); n != loads {
			t.Errorf("locks %s: %s loads, want %s: %v", mode, n, loads, got)
		}
		for _, r := range got {
			if mode == "on" && r != "load 1 <nil>" || !strings.HasSuffix(fmt.Sprint(r), " <nil>") {
				t.Errorf("locks %s: a process got %v", mode, r)
			}
		}
		if s.Do("EXISTS", "hot:key:lock") != int64(0) {
			t.Errorf("locks %s: the lock is left behind", mode)
		}
	}
}

// A process that is killed while it holds the lock delays others for the lease
// at most.
func TestKilledWhileHoldingTheLock(t *testing.T) {
	s := testenv.Redis(t, nil)
	dead := fleet(t, s, 1, "hangs")
	s.Do("SET", "go", "1")
	waitFor(t, s, "loads", 1)
	if ttl, _ := s.Do("PTTL", "hot:key:lock").(int64); ttl <= 0 || ttl > 5000 {
		t.Fatalf("the lock hot:key:lock lives for %d ms, want up to 5000", ttl)
	}
	dead[0].Stop()
	start := time.Now()
	s.Do("DEL", "ready")
	fleet(t, s, 4, "on")
	if got := results(t, s, 4); fmt.Sprint(s.Do("GET", "loads")) != "2" || got[0] != "load 2 <nil>" {
		t.Errorf("after the death: %v loads, %v", s.Do("GET", "loads"), got)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("the others waited %v for a dead process", took)
	}
}

// So does one that is killed with the locks of a batch, however many.
func TestKilledWhileHoldingManyLocks(t *testing.T) {
	s := testenv.Redis(t, nil)
	dead := fleet(t, s, 1, "hangs with many")
	s.Do("SET", "go", "1")
	waitFor(t, s, "loads", 1)
	dead[0].Stop()
	keys := numbered(0, 100)
	for _, k := range keys {
		if ttl, _ := s.Do("PTTL", "hot:"+k+":lock").(int64); ttl == -1 || ttl > 5000 {
			t.Errorf("the lock of %s lives for %d ms, want up to 5000", k, ttl)
		}
	}
	c, err := overRedis(t, "secure", s.URL(), 5*time.Second).Namespace("hot")
	if err != nil {
		t.Fatal(err)
	}
	start, loads := time.Now(), &tally{}
	got, err := secure.For[string](c).GetOrLoadMany(t.Context(), keys, loads.loader(0))
	want(t, got, err, keys)
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("a dead process was waited for %v", took)
	}
}

// A lock that somebody else keeps (an owner that stores nothing) delays a load
// for ten seconds at most, and is left alone.
func TestLocksThatNobodyGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &locking{fake: newFake(), until: map[string]time.Time{"k": time.Now().Add(time.Hour)}}
		c := open(t, l.fake, func(o *secure.Options) { o.Backend = l })
		defer c.Close()
		start := time.Now()
		got, err := secure.For[string](c).GetOrLoad(t.Context(), "k", func(context.Context) (string, error) { return "v", nil })
		if took := time.Since(start); err != nil || got != "v" || took < 10*time.Second || took > 10200*time.Millisecond {
			t.Errorf("%q, %v after %v, want the value after 10s", got, err, took)
		}
		if tries, held := l.seen(); tries > 120 || held != 1 {
			t.Errorf("%d tries in 10 s; the owner's lock is there: %t", tries, held == 1)
		}
	})
}

// The context of a caller ends its wait for a lock.
func TestForeignLocks(t *testing.T) {
	s := testenv.Redis(t, nil)
	c := overRedis(t, "secure", s.URL(), 5*time.Second)
	s.Do("SET", "users:held:lock", "another-sdk")
	v := secure.For[user](c)
	load := func(context.Context) (user, error) { return alice, nil }
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := v.GetOrLoad(ctx, "held", load); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller with a deadline got %v", err)
	}
	if s.Do("GET", "users:held:lock") != "another-sdk" {
		t.Error("the owner's lock is gone")
	}
}

// A waiter sees the value as soon as it is stored, and takes over an owner that
// gave up without one.
func TestWaitersLookForTheValue(t *testing.T) {
	s := testenv.Redis(t, nil)
	c, other := overRedis(t, "secure", s.URL(), 5*time.Second), overRedis(t, "secure", s.URL(), 5*time.Second)
	v := secure.For[user](c)
	stop := func(context.Context) (user, error) { t.Error("the loader ran"); return user{}, nil }
	s.Do("SET", "users:k:lock", "another-sdk")
	time.AfterFunc(200*time.Millisecond, func() { other.Set(context.Background(), "k", alice) })
	start := time.Now()
	if got, err := v.GetOrLoad(t.Context(), "k", stop); err != nil || got != alice || time.Since(start) > 4*time.Second {
		t.Errorf("%+v, %v after %v", got, err, time.Since(start))
	}
	s.Do("SET", "users:l:lock", "another-sdk", "PX", "200")
	start = time.Now()
	if got, err := v.GetOrLoad(t.Context(), "l", func(context.Context) (user, error) { return alice, nil }); err != nil || got != alice || time.Since(start) > 4*time.Second {
		t.Errorf("%+v, %v after %v", got, err, time.Since(start))
	}
}

// locking is a fake with locks, as a fleet shares it.
type locking struct {
	*fake
	mu    sync.Mutex
	until map[string]time.Time
	tries int
}

func (l *locking) Lock(_ context.Context, key string, lease time.Duration) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tries++
	if time.Now().Before(l.until[key]) {
		return "", backends.ErrLocked
	}
	l.until[key] = time.Now().Add(lease)
	return "token", nil
}

// seen is how often the lock was tried, and how many are held.
func (l *locking) seen() (tries, held int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tries, len(l.until)
}

func (l *locking) Unlock(_ context.Context, key, _ string) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.until, key)
	return true, nil
}

// A stale entry is refreshed by one process; the others serve it meanwhile and
// wait for nothing, not even a caller whose copy is gone.
func TestOneRefreshInTheFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &locking{fake: newFake(), until: map[string]time.Time{}}
		var fleet []*secure.Cache
		for range 8 {
			c := open(t, l.fake, func(o *secure.Options) { o.Backend = l })
			defer c.Close()
			fleet = append(fleet, c)
		}
		if err := fleet[0].Set(t.Context(), "k", "old"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(400 * time.Second) // stale in all
		var loads atomic.Int32
		get := func(c *secure.Cache) string {
			t.Helper()
			start := time.Now()
			got, err := secure.For[string](c).GetOrLoad(t.Context(), "k", func(context.Context) (string, error) {
				loads.Add(1)
				time.Sleep(time.Second)
				return "new", nil
			})
			if err != nil || time.Since(start) > 0 {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			return got
		}
		for range 3 {
			for i, c := range fleet {
				if got := get(c); got != "old" {
					t.Errorf("cache %d served %q while one refreshes", i, got)
				}
			}
			time.Sleep(10 * time.Millisecond) // copies made by reads are stale by then
			synctest.Wait()
		}
		if tries, _ := l.seen(); loads.Load() != 1 || tries < 9 {
			t.Errorf("%d loads and %d tries of the lock, want 1 load, and every cache's try", loads.Load(), tries)
		}
		time.Sleep(time.Minute)
		for _, c := range fleet {
			get(c) // a copy that has ended is read again
		}
		synctest.Wait()
		for i, c := range fleet {
			if got := get(c); got != "new" || loads.Load() != 1 {
				t.Errorf("cache %d serves %q after %d loads", i, got, loads.Load())
			}
		}
	})
}

// How often a load runs in a fleet of eight depends on how long it takes: the
// lock is not prolonged. Of a batch that is so for each key; who loads some of its
// keys meanwhile does not load the others.
func TestLongLoadsInTheFleet(t *testing.T) {
	for took, want := range map[time.Duration]int32{4 * time.Second: 1, 9 * time.Second: 2, 20 * time.Second: 8} {
		synctest.Test(t, func(t *testing.T) {
			l := &locking{fake: newFake(), until: map[string]time.Time{}}
			var one atomic.Int32
			many := &tally{}
			for range 8 {
				c := open(t, l.fake, func(o *secure.Options) { o.Backend = l })
				defer c.Close()
				v := secure.For[string](c)
				go v.GetOrLoad(t.Context(), "k", func(context.Context) (string, error) {
					one.Add(1)
					time.Sleep(took)
					return "v", nil
				})
				go v.GetOrLoadMany(t.Context(), []string{"a", "b"}, many.loader(took))
			}
			time.Sleep(time.Minute)
			if one.Load() != want {
				t.Errorf("a load of %v ran %d times, want %d", took, one.Load(), want)
			}
			for key, n := range many.loads() {
				if n > int(want) || n < int(want)*3/4 {
					t.Errorf("a batch's load of %v ran %d times for %s, want %d", took, n, key, want)
				}
			}
		})
	}
}

// Options.FillLock: what cannot be is refused, and Off takes no lock.
func TestFillLockOption(t *testing.T) {
	clean(t)
	l := &locking{fake: newFake(), until: map[string]time.Time{}}
	load := func(context.Context) (string, error) { return "v", nil }
	for _, sw := range []secure.Switch{0, secure.On, secure.Off} {
		before, _ := l.seen()
		c := open(t, l.fake, func(o *secure.Options) { o.Backend, o.FillLock = l, sw })
		if _, err := secure.For[string](c).GetOrLoad(t.Context(), fmt.Sprint("k", sw), load); err != nil {
			t.Fatal(err)
		}
		after, _ := l.seen()
		if got, want := after > before, sw != secure.Off; got != want {
			t.Errorf("switch %d: a lock was taken: %t, want %t", sw, got, want)
		}
	}
	for _, o := range []secure.Options{{Backend: newFake(), FillLock: secure.On}, {L1Only: true, FillLock: secure.On}, {Backend: l, FillLock: 9}} {
		o.MasterKey = key(t, "1")
		if _, err := secure.New(t.Context(), &o); !errors.Is(err, secure.ErrConfig) || !strings.Contains(err.Error(), "FillLock") {
			t.Errorf("got %v, want ErrConfig", err)
		}
	}
}

// Loads go on where locks fail: the user may not write the key of the lock.
func TestLocksThatFail(t *testing.T) {
	s := testenv.Redis(t, nil)
	c := overRedis(t, "secure", s.URL(), 5*time.Second)
	s.Do("ACL", "SETUSER", "default", "resetkeys", "%R~*", "%W~users:?")
	if got, err := secure.For[user](c).GetOrLoad(t.Context(), "k", func(context.Context) (user, error) { return alice, nil }); err != nil || got != alice {
		t.Errorf("%+v, %v", got, err)
	}
	if n := c.Stats().Absorbed; n != 1 || s.Do("EXISTS", "users:k") != int64(1) {
		t.Errorf("%d failures were absorbed, want 1, and the value stored", n)
	}
}
