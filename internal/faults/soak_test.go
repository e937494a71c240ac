package faults_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

var (
	soakFor    = flag.Duration("soak", 15*time.Second, "how long the soak runs")
	soakReport = flag.String("soak-report", "", "the file to write the soak's report to")
)

const (
	soakWorkers  = 3
	serverKilled = "server killed"
)

// soak is a run: servers behind proxies, workers, and who troubles them.
type soak struct {
	t     *testing.T
	plan  soakPlan
	hurry float64 // shortens pauses in short runs
	start time.Time
	// commit is that of the source at the start; it may move on meanwhile.
	commit string

	mu     sync.Mutex
	faults map[string]int
	loads  []float64
}

// Rule: whatever happens to the servers, no cache returns a wrong value, no
// acknowledged write is lost that the storage itself did not lose, and every
// process ends as small as it was.
func TestSoak(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "entries"), 0o700); err != nil {
		t.Fatal(err)
	}
	redis, memcached := testenv.Redis(t, nil), testenv.Memcached(t, nil)
	toRedis, toMemcached := testenv.Proxy(t, redis.Addr()), testenv.Proxy(t, memcached.Addr())
	toRedis.Forget()
	toMemcached.Forget()
	s := &soak{t: t, faults: map[string]int{}, start: time.Now(), commit: commit(), hurry: 1, plan: soakPlan{
		Workers: soakWorkers, RedisURL: redis.URLAt(toRedis.Addr()), Memcached: toMemcached.Addr(), Dir: dir,
		Until: time.Now().Add(*soakFor), Pause: 30 * time.Millisecond, Sample: 10 * time.Second,
	}}
	if *soakFor < time.Minute {
		s.hurry, s.plan.Pause, s.plan.Sample = 0.3, 10*time.Millisecond, 500*time.Millisecond
	}
	ctx, cancel := context.WithDeadline(t.Context(), s.plan.Until.Add(-*soakFor/8)) // calm at the end
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { s.trouble(ctx, "redis", redis, toRedis) })
	wg.Go(func() { s.trouble(ctx, "memcached", memcached, toMemcached) })
	for i := range soakWorkers {
		wg.Go(func() { s.lives(ctx, i) })
	}
	wg.Go(func() { s.watchLoad(ctx) })
	wg.Wait()
	s.judge(s.reports())
}

// server is what can be done to a server's process.
type server interface {
	Stop()
	Start()
	Pause()
	Resume()
}

// trouble makes one fault after the other, each of up to three seconds, until
// ctx ends.
func (s *soak) trouble(ctx context.Context, name string, srv server, p *testenv.FaultProxy) {
	generation := 0
	lost := func() {
		generation++
		if err := putNumber(s.plan.path("generation ", name), generation); err != nil {
			s.t.Error(err)
		}
	}
	network := func(begin func()) func(time.Duration) {
		return func(d time.Duration) { begin(); time.Sleep(d); p.Resume() }
	}
	faults := map[string]func(time.Duration){
		"black hole":        network(p.Stall),
		"replies stall":     network(p.StallReplies),
		"stall mid-request": network(p.StallMidRequest),
		"stall mid-reply":   network(p.StallMidReply),
		"reset mid-reply":   network(p.ResetMidReply),
		"drip 1 byte/s":     network(func() { p.Drip(time.Second) }),
		"stall, then reset": network(func() { p.Stall(); p.Cut() }),
		"reset":             func(time.Duration) { p.Cut() },
		"half-open":         func(time.Duration) { p.HalfOpen() },
		"refused":           func(d time.Duration) { p.Kill(); time.Sleep(d); p.Revive() },
		"server paused":     func(d time.Duration) { srv.Pause(); time.Sleep(d); srv.Resume() },
		serverKilled:        func(d time.Duration) { lost(); srv.Stop(); time.Sleep(d); srv.Start(); lost() },
	}
	var round []string
	for s.sleep(ctx, 1, 4) {
		if len(round) == 0 {
			round = shuffled(faults)
		}
		kind := round[0]
		round = round[1:]
		s.noted(name + ": " + kind)
		faults[kind](time.Duration((0.1 + 2.9*rand.Float64()) * s.hurry * float64(time.Second)))
	}
}

// shuffled is a round of all faults, which a kill begins.
func shuffled[T any](faults map[string]T) []string {
	names := slices.Sorted(maps.Keys(faults))
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	at := slices.Index(names, serverKilled)
	names[0], names[at] = names[at], names[0]
	return names
}

func (s *soak) noted(fault string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[fault]++
}

// sleep waits for some seconds and reports whether ctx still runs then.
func (s *soak) sleep(ctx context.Context, least, most float64) bool {
	d := (least + (most-least)*rand.Float64()) * s.hurry
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Duration(d * float64(time.Second))):
		return true
	}
}

// lives runs a worker. All but the first are killed now and then, in the middle
// of whatever they do, and started anew.
func (s *soak) lives(ctx context.Context, worker int) {
	for life := 0; ; life++ {
		plan := s.plan
		plan.Worker, plan.Life = worker, life
		text, err := json.Marshal(plan)
		if err != nil {
			s.t.Error(err)
			return
		}
		p := startRole(s.t, "soak worker", soakEnv+"="+string(text))
		if worker > 0 && s.sleep(ctx, 15, 90) {
			p.Stop()
			s.noted("process killed")
			continue
		}
		limit := time.After(time.Until(plan.Until) + 30*time.Second)
		for !p.Exited() {
			select {
			case <-limit:
				s.t.Errorf("worker %d does not end: %s", worker, p.Log())
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
		if log := p.Log(); log != "" {
			s.t.Errorf("worker %d: %s", worker, log)
		}
		return
	}
}

// watchLoad samples the one-minute load of the machine.
func (s *soak) watchLoad(ctx context.Context) {
	for s.sleep(ctx, 5, 5) {
		var load float64
		text, _ := os.ReadFile("/proc/loadavg")
		if _, err := fmt.Sscan(string(text), &load); err == nil {
			s.mu.Lock()
			s.loads = append(s.loads, load)
			s.mu.Unlock()
		}
	}
}

func (s *soak) reports() (all []*workerReport) {
	s.t.Helper()
	paths, err := filepath.Glob(s.plan.path("report-*.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			s.t.Fatal(err)
		}
		r := new(workerReport)
		if err := json.Unmarshal(text, r); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// judge fails the test over what must not be, and writes the report.
func (s *soak) judge(all []*workerReport) {
	s.t.Helper()
	sum := summarize(all)
	page := s.page(sum)
	if *soakReport != "" {
		if err := os.WriteFile(*soakReport, []byte(page), 0o644); err != nil {
			s.t.Error(err)
		}
	}
	for _, text := range append(sum.wrong, sum.strange...) {
		s.t.Error(text)
	}
	for _, fault := range sum.growth {
		s.t.Error(fault)
	}
	if sum.done != soakWorkers {
		s.t.Errorf("%d workers came to their end, want %d", sum.done, soakWorkers)
	}
	// Most of a noisy machine's lateness is told by the ticks.
	if late := sum.total.Late - sum.total.Asleep; late > sum.total.Calls/1000 {
		s.t.Errorf("%d of %d calls returned more than %v after their context", late, sum.total.Calls, slack)
	}
	if n := sum.counts["reads checked against the last write"]; n < 100 || sum.total.Calls < 1000 {
		s.t.Errorf("%d calls and %d checks: the soak looked at too little", sum.total.Calls, n)
	}
	if s.t.Failed() || testing.Verbose() {
		s.t.Log(strings.TrimSpace(page))
	}
}
