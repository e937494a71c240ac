package filebackend_test

import (
	"sync"
	"testing"

	"github.com/cachekit-io/cachekit-go/backends/filebackend"
)

// disk stands between a backend and the real disk: it can stall every system
// call, as a dead NFS server does, or fail them, and it counts them.
type disk struct {
	mu      sync.Mutex
	calls   int
	waiting int
	stalled chan struct{} // closed by resume
	err     error
	hooks   map[int]func()
}

// onCall runs f right before the n-th system call.
func (d *disk) onCall(n int, f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hooks == nil {
		d.hooks = make(map[int]func())
	}
	d.hooks[n] = f
}

func (d *disk) gate() error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	d.calls++
	stalled, err, hook := d.stalled, d.err, d.hooks[d.calls]
	if stalled != nil {
		d.waiting++
	}
	d.mu.Unlock()
	if hook != nil {
		hook()
	}
	if stalled != nil {
		<-stalled
	}
	return err
}

func (d *disk) stall() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stalled == nil {
		d.stalled = make(chan struct{})
	}
}

func (d *disk) resume() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stalled != nil {
		close(d.stalled)
		d.stalled, d.waiting = nil, 0
	}
}

func (d *disk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

// seen returns how many system calls were asked for, and how many are stuck.
func (d *disk) seen() (calls, waiting int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls, d.waiting
}

// openOn opens a directory on d, which is nil for one that only might stall.
func openOn(tb testing.TB, d *disk, dir string, opts *filebackend.Options) *filebackend.Backend {
	tb.Helper()
	b, err := filebackend.OpenGated(dir, opts, d.gate)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		d.resume()
		b.Close()
	})
	return b
}
