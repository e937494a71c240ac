package faults_test

import (
	"cmp"
	"fmt"
	"maps"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// summary is the reports of all lives of all workers.
type summary struct {
	calls          map[call]*tally
	total          tally
	counts         map[string]int
	wrong, strange []string
	growth         []string
	longest        []*workerReport // the last life of each worker
	lives, done    int
	ticks, late    int
	worst          time.Duration
}

func summarize(all []*workerReport) *summary {
	s := &summary{calls: map[call]*tally{}, counts: map[string]int{}, total: tally{Classes: map[string]int{}}}
	for _, r := range all {
		s.lives++
		for c, t := range r.Calls {
			if s.calls[c] == nil {
				s.calls[c] = &tally{Classes: map[string]int{}}
			}
			s.calls[c].add(t)
			s.total.add(t)
		}
		for what, n := range r.Counts {
			s.counts[what] += n
		}
		s.wrong, s.strange = append(s.wrong, r.Wrong...), append(s.strange, r.Strange...)
		s.ticks, s.late, s.worst = s.ticks+r.Ticks, s.late+r.LateTicks, max(s.worst, r.WorstTick)
		if r.Done {
			s.done++
			s.longest = append(s.longest, r)
			s.growth = append(s.growth, r.growth()...)
		}
	}
	slices.SortFunc(s.longest, func(a, b *workerReport) int { return cmp.Compare(a.Plan.Worker, b.Plan.Worker) })
	return s
}

// fifth returns the medians of one fifth of a life.
func (r *workerReport) fifth(i int) (rss, goroutines int) {
	n := len(r.Memory)
	part := r.Memory[n*i/5 : n*(i+1)/5]
	if len(part) == 0 {
		return 0, 0
	}
	var sizes, counts []int
	for _, m := range part {
		sizes, counts = append(sizes, m.RSS), append(counts, m.Goroutines)
	}
	slices.Sort(sizes)
	slices.Sort(counts)
	return sizes[len(sizes)/2], counts[len(counts)/2]
}

// growth says what grew between the second fifth of a life and the last one.
func (r *workerReport) growth() (found []string) {
	rss, goroutines := r.fifth(1)
	lastRSS, lastGoroutines := r.fifth(4)
	if lastRSS > rss+rss/4+(16<<20) {
		found = append(found, fmt.Sprintf("worker %d grew from %d to %d bytes", r.Plan.Worker, rss, lastRSS))
	}
	if lastGoroutines > 2*goroutines+20 {
		found = append(found, fmt.Sprintf("worker %d grew from %d to %d goroutines", r.Plan.Worker, goroutines, lastGoroutines))
	}
	if r.Leaked > 0 {
		found = append(found, fmt.Sprintf("worker %d leaves %d goroutines after Close", r.Plan.Worker, r.Leaked))
	}
	return found
}

const soakHead = `# Soak

Made by ` + "`make soak`" + ` ([internal/faults](../internal/faults)); a run of seconds is part of every ` + "`go test`" + `. Do not edit it.

Processes share a Redis, a Memcached (each behind a proxy that breaks the network) and a directory. Each process has two caches
over each: ` + "`secure`" + ` with an in-process layer and the reliability stack, ` + "`minimal`" + ` with neither. Values describe themselves. Each
key has one writer, which knows what its last acknowledged write was, and checks it through both caches; a key whose write
returned an error is left out until a later write of it is acknowledged.

It comes after the long forms of two tests, which have to pass before it begins: 64 goroutines seal 10^7 entries each and no
nonce comes twice (internal/envelope); through a network that breaks all the time, two tenants under one namespace make a
million rounds of calls that are given up early, and nobody is given the value of another (internal/claims).
`

// page is the report.
func (s *soak) page(sum *summary) string {
	var b strings.Builder
	b.WriteString(soakHead)
	s.machine(&b, sum)
	sum.promises(&b)
	sum.punctuality(&b)
	sum.sizes(&b)
	fmt.Fprintf(&b, "\n## Faults\n\n| fault | times |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(s.faults)) {
		fmt.Fprintf(&b, "| %s | %d |\n", name, s.faults[name])
	}
	return b.String()
}

func (s *soak) machine(b *strings.Builder, sum *summary) {
	slices.Sort(s.loads)
	load := "not told"
	if n := len(s.loads); n > 0 {
		load = fmt.Sprintf("%.1f to %.1f, median %.1f", s.loads[0], s.loads[n-1], s.loads[n/2])
	}
	fmt.Fprintf(b, "\n## Run\n\n| | |\n|---|---|\n| started | %s |\n| length | %v |\n| commit | %s |\n| machine | %s/%s, %d cores, %s |\n| load of the machine (1 min) | %s |\n",
		s.start.UTC().Format("2006-01-02 15:04 UTC"), *soakFor, s.commit, runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), load)
	fmt.Fprintf(b, "| a goroutine that sleeps 20 ms woke over %v late | %d of %d times, at worst %v |\n",
		tickLate, sum.late, sum.ticks, sum.worst.Round(time.Millisecond))
	fmt.Fprintf(b, "| processes | %d at a time, %d in all |\n| calls | %d |\n", soakWorkers, sum.lives, sum.total.Calls)
}

func commit() string {
	out, err := exec.Command("git", "rev-parse", "--short=10", "HEAD").Output()
	if err != nil {
		return "not told"
	}
	return strings.TrimSpace(string(out))
}

func (s *summary) promises(b *strings.Builder) {
	fmt.Fprintf(b, "\n## Promises\n\n| what | times |\n|---|---|\n")
	fmt.Fprintf(b, "| **broken: a wrong value, a lost write, a deleted entry that is back** | **%d** |\n", s.counts["broken promises"])
	fmt.Fprintf(b, "| errors of a class that no fault explains (authentication, malformed, type, ...) | %d |\n", len(s.strange))
	for _, what := range slices.Sorted(maps.Keys(s.counts)) {
		if what != "broken promises" {
			fmt.Fprintf(b, "| %s | %d |\n", what, s.counts[what])
		}
	}
	for _, text := range s.wrong {
		fmt.Fprintf(b, "\n- %s", text)
	}
	if len(s.wrong) > 0 {
		b.WriteString("\n")
	}
}

func (s *summary) punctuality(b *strings.Builder) {
	fmt.Fprintf(b, "\n## Calls\n\n\"Late\" is more than %v after the end of the call's context (deadlines of 20 ms to 2 s, a tenth of them cancelled before); "+
		"\"not scheduled\" are those of them during which the process itself did not run for over %v.\n\n", slack, tickLate)
	b.WriteString("| call | times | returned | late | of these not scheduled | latest |\n|---|---|---|---|---|---|\n")
	names := slices.SortedFunc(maps.Keys(s.calls), func(a, b call) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	for _, c := range names {
		t := s.calls[c]
		fmt.Fprintf(b, "| %s, %s, %s | %d | %s | %d | %d | %s |\n", c.Backend, c.Profile, c.Op, t.Calls, t.shares(), t.Late, t.Asleep, worst(t))
	}
	fmt.Fprintf(b, "| all | %d | %s | %d | %d | %s |\n", s.total.Calls, s.total.shares(), s.total.Late, s.total.Asleep, worst(&s.total))
}

func worst(t *tally) string {
	if t.Late == 0 {
		return "-"
	}
	return t.Worst.Round(time.Millisecond).String()
}

// shares lists the classes, the most frequent first.
func (t *tally) shares() string {
	names := slices.SortedFunc(maps.Keys(t.Classes), func(a, b string) int {
		return cmp.Or(cmp.Compare(t.Classes[b], t.Classes[a]), strings.Compare(a, b))
	})
	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%s %s %%", name, percent(t.Classes[name], t.Calls)))
	}
	return strings.Join(parts, ", ")
}

// percent does not round a few failures away.
func percent(n, of int) string {
	share := 100 * float64(n) / float64(of)
	if share > 99 && n < of {
		return fmt.Sprintf("%.3f", share)
	}
	return fmt.Sprintf("%.3g", share)
}

func (s *summary) sizes(b *strings.Builder) {
	b.WriteString("\n## Memory and goroutines\n\nMedians of each fifth of the last life of each process.\n\n" +
		"| process | resident MiB | goroutines | left after Close |\n|---|---|---|---|\n")
	for _, r := range s.longest {
		var sizes, counts []string
		for i := range 5 {
			rss, goroutines := r.fifth(i)
			sizes, counts = append(sizes, fmt.Sprintf("%.1f", float64(rss)/(1<<20))), append(counts, fmt.Sprint(goroutines))
		}
		fmt.Fprintf(b, "| %d | %s | %s | %d |\n", r.Plan.Worker, strings.Join(sizes, ", "), strings.Join(counts, ", "), r.Leaked)
	}
}
