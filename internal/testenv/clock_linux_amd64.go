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
// changes: MoveClock writes its own code over the vDSO's, in this process's copy,
// until the test ends. It is slower by a system call.
func MoveClock(t testing.TB, d time.Duration) {
	t.Helper()
	if d%time.Second != 0 {
		t.Fatalf("the clock can be moved by whole seconds, not by %v", d)
	}
	t.Setenv("CACHEKIT_TEST_CLOCK", d.String()) // panics in a parallel test
	c, err := ownClock()
	if err != nil {
		Missing(t, fmt.Sprintf("the process's clock cannot be moved here: %v", err))
	}
	c.move(t, d)
	c.alone(t, true)
	t.Cleanup(func() {
		c.move(t, 0)
		c.alone(t, false)
	})
}

// alone is jump for this process. No other goroutine shall be on the way through
// the instructions that are replaced: none runs, but for what the runtime does.
func (c *processClock) alone(t testing.TB, on bool) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if err := c.jump(on); err != nil {
		t.Fatal(err)
	}
}

// MoveClock sets the wall clock of the process, and of nothing else, d ahead of the
// machine's, for as long as it runs; see [MoveClock]. The process stands still
// meanwhile.
func (p *Process) MoveClock(d time.Duration) {
	p.t.Helper()
	p.Pause()
	defer p.Resume()
	if p.clock == nil {
		c, err := newClock(fmt.Sprint(p.PID()))
		if err != nil {
			Missing(p.t, fmt.Sprintf("a server's clock cannot be moved here: %v", err))
		}
		p.clock = c
	}
	p.clock.move(p.t, d)
	if err := p.clock.jump(true); err != nil {
		p.t.Fatal(err)
	}
}

var ownClock = sync.OnceValues(func() (*processClock, error) {
	c, err := newClock("self")
	if err != nil {
		return nil, err
	}
	return c, c.works()
})

// processClock is the place in a process's memory that holds what is added to its
// clock.
type processClock struct {
	memory  string
	at      int64
	entries []clockEntry
	on      bool
}

// clockEntry is the beginning of a function, as it was and as a jump.
type clockEntry struct {
	at        int64
	was, jump []byte
}

// jump has the functions jump to our code, or not any more.
func (c *processClock) jump(on bool) (err error) {
	if on == c.on {
		return nil
	}
	for _, e := range c.entries {
		b := e.was
		if on {
			b = e.jump
		}
		err = errors.Join(err, c.write(e.at, b))
	}
	c.on = on
	return err
}

func (c *processClock) move(t testing.TB, d time.Duration) {
	t.Helper()
	if err := c.write(c.at, binary.LittleEndian.AppendUint64(nil, uint64(d/time.Second))); err != nil {
		t.Fatal(err)
	}
}

// write puts bytes over memory that is not writable: the kernel lets a process do
// so with its own and its children's, as it lets debuggers.
func (c *processClock) write(at int64, b []byte) error {
	f, err := os.OpenFile(c.memory, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	return errors.Join(err, f.Close())
}

// clockCode stands for functions of the vDSO: the system call, and the addition of
// what the address that is inserted at hole holds. It takes 32 bytes at most.
var clockCode = map[string]struct {
	hole int
	code []byte
}{
	"__vdso_clock_gettime": {14, []byte{
		0xb8, 228, 0, 0, 0, // mov eax, clock_gettime
		0x0f, 0x05, // syscall
		0x85, 0xff, // test edi, edi: CLOCK_REALTIME is 0
		0x75, 0x0a, // jne over the next two
		0x48, 0x8b, 0x0d, 0, 0, 0, 0, // mov rcx, [rip+hole]
		0x48, 0x01, 0x0e, // add [rsi], rcx
		0xc3, // ret
	}},
	"__vdso_gettimeofday": {15, []byte{
		0xb8, 96, 0, 0, 0, // mov eax, gettimeofday
		0x0f, 0x05, // syscall
		0x48, 0x85, 0xff, // test rdi, rdi
		0x74, 0x0a, // je over the next two
		0x48, 0x8b, 0x0d, 0, 0, 0, 0, // mov rcx, [rip+hole]
		0x48, 0x01, 0x0f, // add [rdi], rcx
		0xc3, // ret
	}},
	"__vdso_time": {10, []byte{
		0xb8, 201, 0, 0, 0, // mov eax, time
		0x0f, 0x05, // syscall
		0x48, 0x03, 0x05, 0, 0, 0, 0, // add rax, [rip+hole]
		0x48, 0x85, 0xff, // test rdi, rdi
		0x74, 0x03, // je over the next one
		0x48, 0x89, 0x07, // mov [rdi], rax
		0xc3, // ret
	}},
}

// newClock puts our code into the padding after the image of the vDSO of a process.
func newClock(process string) (*processClock, error) {
	start, image, err := vdso(process)
	if err != nil {
		return nil, err
	}
	entries, end, err := clockEntries(image)
	if err != nil {
		return nil, err
	}
	at := (end + 15) &^ 15
	size := int64(16 + 32*len(clockCode))
	if int64(len(image)) < at+size || len(bytes.Trim(image[at:at+size], "\x00")) > 0 {
		return nil, fmt.Errorf("the vDSO has no padding of %d bytes", size)
	}
	c := &processClock{memory: "/proc/" + process + "/mem", at: start + at}
	block := make([]byte, 16)
	for name, entry := range entries {
		f := clockCode[name]
		to := at + int64(len(block))
		was := image[entry : entry+8]
		jump := append(binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(to-entry-5)), was[5:]...)
		c.entries = append(c.entries, clockEntry{start + entry, was, jump})
		code := append(bytes.Clone(f.code), make([]byte, 32-len(f.code))...)
		binary.LittleEndian.PutUint32(code[f.hole:], uint32(-(int64(len(block)) + int64(f.hole) + 4)))
		block = append(block, code...)
	}
	err = c.write(c.at, block)
	for _, e := range c.entries {
		err = errors.Join(err, c.write(e.at, e.was)) // the first write copies a page that was shared
	}
	return c, err
}

// works looks whether a step is seen, of a clock that is this process's.
func (c *processClock) works() error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if err := c.jump(true); err != nil {
		return err
	}
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

// vdso returns where the vDSO of a process lies in memory, and a copy of it.
func vdso(process string) (start int64, image []byte, err error) {
	maps, err := os.ReadFile("/proc/" + process + "/maps")
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
		f, err := os.Open("/proc/" + process + "/mem")
		if err != nil {
			return 0, nil, err
		}
		defer f.Close()
		image, err = io.ReadAll(io.NewSectionReader(f, start, end-start))
		return start, image, err
	}
	return 0, nil, errors.New("there is no vDSO")
}

// clockEntries returns where in image the functions of clockCode begin, and where
// the image ends.
func clockEntries(image []byte) (entries map[string]int64, end int64, err error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, 0, err
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return nil, 0, err
	}
	entries = map[string]int64{}
	for _, s := range symbols {
		if _, ok := clockCode[s.Name]; ok {
			entries[s.Name] = int64(s.Value)
		}
	}
	if len(entries) < len(clockCode) {
		return nil, 0, errors.New("the vDSO does not tell the time")
	}
	// The table of sections is the end of the file: e_shoff, e_shentsize, e_shnum.
	get := binary.LittleEndian
	end = int64(get.Uint64(image[40:])) + int64(get.Uint16(image[58:]))*int64(get.Uint16(image[60:]))
	return entries, end, nil
}
