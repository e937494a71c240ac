package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/cachekit-io/cachekit-go/secure"
)

func init() { roles["full layer"] = fullLayer }

const (
	layerBytes = 64 << 20
	// layerFactor is how much the process may grow per byte of the bound, at its
	// peak: the garbage collector lets the heap double between two collections
	// (GOGC=100), and what is written while it collects comes on top. It was 2.8
	// when measured.
	layerFactor = 4
)

// layerUse is what a process with a full in-process layer says of itself.
type layerUse struct{ Before, Peak, After, Counted, Live, Entries int }

// Rule: the bound of the in-process layer bounds the process: ten times as much
// as fits, of entries of all sizes, written and read by many, leaves it within
// layerFactor of the bound, and what lives in the heap within a quarter of it.
func TestLayerIsBoundedInMemory(t *testing.T) {
	t.Parallel()
	if residentBytes() == 0 || raceEnabled {
		t.Log("this system does not tell how large a process is, or the race detector makes it larger")
		return
	}
	p := startRole(t, "full layer")
	if !within(recovery*4, func(context.Context) bool { return p.Exited() }) {
		t.Fatal("the child does not end")
	}
	var u layerUse
	if err := json.NewDecoder(strings.NewReader(p.Log())).Decode(&u); err != nil {
		t.Fatalf("the child says %q", p.Log())
	}
	t.Logf("MiB: resident %d before, %d at the peak, %d after; %d live in the heap for %d counted, in %d entries",
		u.Before>>20, u.Peak>>20, u.After>>20, u.Live>>20, u.Counted>>20, u.Entries)
	if grown := u.Peak - u.Before; grown > layerFactor*layerBytes {
		t.Errorf("the process grew by %d bytes at its peak, want at most %d times the bound of %d", grown, layerFactor, layerBytes)
	}
	if u.Live > layerBytes+layerBytes/4 {
		t.Errorf("%d bytes live in the heap, want at most a quarter over the bound of %d", u.Live, layerBytes)
	}
	if u.Counted < layerBytes/2 || u.Entries < 1000 {
		t.Errorf("%d bytes in %d entries are counted: the layer was never full", u.Counted, u.Entries)
	}
}

// fullLayer writes ten times the bound, of entries of 16 B to 256 KiB.
func fullLayer() error {
	c, err := newCache(context.Background(), "minimal", nil, func(o *secure.Options) { o.L1Only, o.L1Bytes = true, layerBytes })
	if err != nil {
		return err
	}
	defer c.Close()
	u := layerUse{Before: residentBytes()}
	var base, end runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&base)
	const writers = 4
	var wg sync.WaitGroup
	errs := make(chan error, writers)
	for w := range writers {
		wg.Go(func() { errs <- fill(c, w, 10*layerBytes/writers) })
	}
	wg.Wait()
	u.Peak = peakBytes()
	for range writers {
		if err := <-errs; err != nil {
			return err
		}
	}
	debug.FreeOSMemory()
	runtime.ReadMemStats(&end)
	s := c.Stats().L1
	u.After, u.Live, u.Counted, u.Entries = residentBytes(), int(end.HeapAlloc)-int(base.HeapAlloc), int(s.Bytes), s.Entries
	return json.NewEncoder(os.Stdout).Encode(u)
}

// peakBytes is the largest resident set that the process ever had.
func peakBytes() int {
	text, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	var kib int
	_, _ = fmt.Sscan(rest, &kib)
	return kib << 10
}

// fill writes n bytes, most of the entries small and most of the bytes in large
// ones, and reads some of them again.
func fill(c *secure.Cache, w, n int) error {
	ctx, rng := context.Background(), rand.New(rand.NewPCG(uint64(w), 1))
	data := make([]byte, 256<<10)
	var out []byte
	for i := 0; n > 0; i++ {
		size := 16 << rng.IntN(8) // to 2 KiB
		if rng.IntN(10) == 0 {
			size = 4096 << rng.IntN(7) // to 256 KiB
		}
		if err := c.Set(ctx, fmt.Sprintf("w%d-%d", w, i), data[:size]); err != nil {
			return err
		}
		if _, err := c.Get(ctx, fmt.Sprintf("w%d-%d", w, rng.IntN(i+1)), &out); err != nil {
			return err
		}
		n -= size
	}
	return nil
}
