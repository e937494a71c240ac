package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// call names what was called.
type call struct{ Backend, Profile, Op string }

// MarshalText makes a call the key of a JSON object.
func (c call) MarshalText() ([]byte, error) {
	return []byte(c.Backend + "/" + c.Profile + "/" + c.Op), nil
}

// UnmarshalText undoes MarshalText.
func (c *call) UnmarshalText(text []byte) error {
	parts := strings.SplitN(string(text), "/", 3)
	if len(parts) != 3 {
		return fmt.Errorf("call %q", text)
	}
	*c = call{parts[0], parts[1], parts[2]}
	return nil
}

// tally is what became of the calls of one name.
type tally struct {
	Calls   int
	Classes map[string]int
	// Late returned more than 100 ms after the end of their context, Asleep of
	// those while the process had been kept from running for as long.
	Late, Asleep int
	// Worst is the longest lateness.
	Worst time.Duration
}

func (t *tally) add(o *tally) {
	t.Calls, t.Late, t.Asleep, t.Worst = t.Calls+o.Calls, t.Late+o.Late, t.Asleep+o.Asleep, max(t.Worst, o.Worst)
	for class, n := range o.Classes {
		t.Classes[class] += n
	}
}

// memory is one look at a worker.
type memory struct {
	After      time.Duration
	RSS        int // bytes
	Goroutines int
}

// workerReport is what one life of a worker found. It is written every now and
// then, because the worker may be killed.
type workerReport struct {
	Plan    soakPlan
	Calls   map[call]*tally
	Counts  map[string]int
	Wrong   []string
	Strange []string
	Memory  []memory
	// Ticks are looks at the clock every 20 ms, LateTicks those that came 50 ms
	// late: how well the machine lets the process run.
	Ticks, LateTicks int
	WorstTick        time.Duration
	Leaked           int
	Done             bool

	mu       sync.Mutex
	start    time.Time
	lateTick atomic.Int64 // when the last one ended
	lastTick atomic.Int64
}

func newWorkerReport(plan soakPlan) *workerReport {
	r := &workerReport{Plan: plan, Calls: map[call]*tally{}, Counts: map[string]int{}, start: time.Now()}
	r.lastTick.Store(time.Now().UnixNano())
	return r
}

func (r *workerReport) count(what string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Counts[what] += n
}

// wrong notes a broken promise; the first hundred are kept.
func (r *workerReport) wrong(backend, profile, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Counts["broken promises"]++
	if len(r.Wrong) < 100 {
		r.Wrong = append(r.Wrong, fmt.Sprintf("%s %s/%s: %s", time.Now().UTC().Format("15:04:05.000"), backend, profile, what))
	}
}

// slack is how long after its context a call may return.
const slack = 100 * time.Millisecond

func (r *workerReport) called(c call, err error, start time.Time, limit time.Duration) {
	end := time.Now()
	late, class := end.Sub(start)-limit, classOf(err)
	asleep := r.lateTick.Load() > start.UnixNano() || end.UnixNano()-r.lastTick.Load() > int64(tickEvery+tickLate)
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.Calls[c]
	if t == nil {
		t = &tally{Classes: map[string]int{}}
		r.Calls[c] = t
	}
	t.Calls++
	t.Classes[class]++
	if late > slack {
		t.Late++
		t.Worst = max(t.Worst, late)
		if asleep {
			t.Asleep++
		}
	}
	if strings.ToUpper(class) == class && len(r.Strange) < 100 { // see classOf
		r.Strange = append(r.Strange, fmt.Sprintf("%v: %s: %v", c, class, err))
	}
}

const (
	tickEvery = 20 * time.Millisecond
	tickLate  = 50 * time.Millisecond
)

// tick looks how late the runtime wakes a sleeping goroutine.
func (r *workerReport) tick(ctx context.Context) {
	for last := time.Now(); ctx.Err() == nil; {
		time.Sleep(tickEvery)
		now := time.Now()
		late := now.Sub(last) - tickEvery
		last = now
		r.lastTick.Store(now.UnixNano())
		if late > tickLate {
			r.lateTick.Store(now.UnixNano())
		}
		r.mu.Lock()
		r.Ticks++
		if late > tickLate {
			r.LateTicks++
			r.WorstTick = max(r.WorstTick, late)
		}
		r.mu.Unlock()
	}
}

// watch samples memory and goroutines, and writes what is known so far.
func (r *workerReport) watch(ctx context.Context) {
	every := time.NewTicker(r.Plan.Sample)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		m := memory{time.Since(r.start), residentBytes(), runtime.NumGoroutine()}
		r.mu.Lock()
		r.Memory = append(r.Memory, m)
		r.mu.Unlock()
		_ = r.save(false)
	}
}

// residentBytes is the process's resident set, 0 where the system does not tell.
func residentBytes() int {
	text, _ := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(fields[1])
	return pages * os.Getpagesize()
}

func (r *workerReport) write() error { return r.save(true) }

func (r *workerReport) save(done bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Done = done
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := r.Plan.path("report-", r.Plan.Worker, "-", r.Plan.Life)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path+".json")
}
