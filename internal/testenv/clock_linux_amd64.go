package testenv

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// MoveClock sets the wall clock of this process, and of nothing else, d ahead of
// the machine's until the test ends; d is whole seconds, and negative for behind.
// Monotonic readings, timers and child processes are not touched. It may be called
// again in the same test, which may not run in parallel with others.
//
// Go asks the vDSO for the time, which no preloaded library and no namespace
// changes: MoveClock writes its own code over the vDSO's, in this process's copy.
func MoveClock(t testing.TB, d time.Duration) {
	t.Helper()
	if d%time.Second != 0 {
		t.Fatalf("the clock can be moved by whole seconds, not by %v", d)
	}
	t.Setenv("CACHEKIT_TEST_CLOCK", d.String()) // panics in a parallel test
	if err := clock.prepare(); err != nil {
		Missing(t, fmt.Sprintf("the process's clock cannot be moved here: %v", err))
	}
	clock.move(t, d)
	t.Cleanup(func() { clock.move(t, 0) })
}

var clock processClock

// processClock is the place in memory that holds what is added to the clock.
type processClock struct {
	once sync.Once
	mem  *os.File
	at   int64
	err  error
}

func (c *processClock) prepare() error {
	c.once.Do(func() { c.err = c.patch() })
	return c.err
}

func (c *processClock) move(t testing.TB, d time.Duration) {
	t.Helper()
	if err := c.write(c.at, binary.LittleEndian.AppendUint64(nil, uint64(d/time.Second))); err != nil {
		t.Fatal(err)
	}
}

// write puts bytes over memory that is not writable: the kernel lets a process do
// so with its own, as it lets debuggers.
func (c *processClock) write(at int64, b []byte) error {
	_, err := c.mem.WriteAt(b, at)
	return err
}

// patch has the vDSO's clock_gettime jump to code in the padding after its image:
// the system call, and for CLOCK_REALTIME the addition of what stands before the
// code.
func (c *processClock) patch() (err error) {
	start, image, err := vdso()
	if err != nil {
		return err
	}
	entry, end, err := clockGettime(image)
	if err != nil {
		return err
	}
	at := (end + 15) &^ 15
	if int64(len(image)) < at+64 || len(bytes.Trim(image[at:at+64], "\x00")) > 0 {
		return errors.New("the vDSO has no padding")
	}
	if c.mem, err = os.OpenFile("/proc/self/mem", os.O_RDWR, 0); err != nil {
		return err
	}
	code := []byte{
		0xb8, 228, 0, 0, 0, // mov eax, clock_gettime
		0x0f, 0x05, // syscall
		0x85, 0xff, // test edi, edi: CLOCK_REALTIME is 0
		0x75, 0x0a, // jne over the next two
		0x48, 0x8b, 0x0d, 0xde, 0xff, 0xff, 0xff, // mov rcx, [rip-34]: 16 bytes before the code
		0x48, 0x01, 0x0e, // add [rsi], rcx
		0xc3, // ret
	}
	jump := binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(at+16-entry-5))
	c.at = start + at
	// No other goroutine shall be on the way through the instructions that the
	// jump replaces: none runs, but for what the runtime itself does.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	// The first write of a page copies it; the last one is of 8 bytes at once.
	for _, w := range []struct {
		at int64
		b  []byte
	}{{at, make([]byte, 16)}, {at + 16, code}, {entry, image[entry : entry+8]}, {entry, append(jump, image[entry+5:entry+8]...)}} {
		if err := c.write(start+w.at, w.b); err != nil {
			return err
		}
	}
	return c.works()
}

func (c *processClock) works() error {
	before := time.Now()
	if err := c.write(c.at, []byte{100}); err != nil {
		return err
	}
	after := time.Now()
	if err := c.write(c.at, []byte{0}); err != nil {
		return err
	}
	if d := after.Round(0).Sub(before); d < 99*time.Second || after.Sub(before) > 99*time.Second {
		return fmt.Errorf("a step of 100 s moved it by %v", d)
	}
	return nil
}

// vdso returns where the vDSO lies in memory, and a copy of it.
func vdso() (start int64, image []byte, err error) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return 0, nil, err
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.HasSuffix(line, "[vdso]\n") {
			continue
		}
		var end int64
		if _, err := fmt.Sscanf(line, "%x-%x", &start, &end); err != nil {
			return 0, nil, err
		}
		mem, err := os.Open("/proc/self/mem")
		if err != nil {
			return 0, nil, err
		}
		defer mem.Close()
		image, err = io.ReadAll(io.NewSectionReader(mem, start, end-start))
		return start, image, err
	}
	return 0, nil, errors.New("there is no vDSO")
}

// clockGettime returns where in image the function begins and the image ends.
func clockGettime(image []byte) (entry, end int64, err error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, 0, err
	}
	end = int64(binary.LittleEndian.Uint64(image[40:])) + int64(binary.LittleEndian.Uint16(image[58:]))*int64(binary.LittleEndian.Uint16(image[60:]))
	symbols, err := f.DynamicSymbols()
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			return int64(s.Value), end, nil
		}
	}
	return 0, 0, errors.Join(err, errors.New("the vDSO has no clock_gettime"))
}
