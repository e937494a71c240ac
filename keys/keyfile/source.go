package keyfile

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cachekit-io/cachekit-go/keys"
)

// defaultWatch is the default of Options.Watch.
const defaultWatch = 10 * time.Second

// Options says how a file is read; nil or zero is the default.
type Options struct {
	// Mounted reads a secret that was mounted into the file system, as
	// Kubernetes does: the path may lead through symbolic links, the file may
	// belong to root as well as to this user, and its group may read it (0440).
	// In return every directory on the way must belong to root or this user and
	// let nobody else replace what is in it. It applies to the passphrase and
	// identity files of FromEnv as well, and only to reading.
	Mounted bool
	// Watch is how often a cache looks whether the file has changed. Default
	// 10 s; negative is never.
	Watch time.Duration
}

func (o *Options) mounted() bool { return o != nil && o.Mounted }

func (o *Options) watch() time.Duration {
	if o == nil || o.Watch == 0 {
		return defaultWatch
	}
	return max(o.Watch, 0)
}

// Source is a keyring file as a keys.Source. It is safe for concurrent use, for
// several caches at a time, and prints nothing.
type Source struct {
	redacted
	mounted bool
	watch   time.Duration
	// resolve returns where the file is and what opens it; the same pointer as
	// before while that is the same.
	resolve func() (path string, p *Protection, err error)

	busy      chan struct{} // holds one token while a load is under way
	good, bad loaded        // guarded by busy
}

// loaded is the outcome for one content of the file under one protection.
type loaded struct {
	sum  [sha256.Size]byte
	p    *Protection
	ring *keys.Keyring
	err  error
	id   string // of the keyring
}

// Open returns the keyring file at path as a source, usually for
// secure.Options.Keyring. It reads nothing yet: a file that is missing, unsafe
// or wrong is an error of the cache's constructor. opts may be nil.
func Open(path string, p *Protection, opts *Options) *Source {
	return newSource(opts, func() (string, *Protection, error) {
		if p == nil {
			return "", nil, errNoProtection
		}
		return path, p, nil
	})
}

func newSource(opts *Options, resolve func() (string, *Protection, error)) *Source {
	return &Source{
		mounted: opts.mounted(), watch: opts.watch(), resolve: resolve, busy: make(chan struct{}, 1),
	}
}

// RefreshInterval returns Options.Watch, 0 for never. Package secure asks for it.
func (s *Source) RefreshInterval() time.Duration { return s.watch }

// Keyring returns the keys in use according to the file. While its content is
// the same it returns the same *keys.Keyring and costs one read of the file.
//
// Beside the errors of Read it is ErrRollback for a file of a lower generation
// than this process has loaded, for another document of the same generation, for
// one whose current key this process has seen demoted, retired or destroyed, and
// for another keyring than this Source began with; restart the program to use
// such a file knowingly. When ctx ends, its error is returned; the load goes on
// in the background and serves who asks next.
func (s *Source) Keyring(ctx context.Context) (*keys.Keyring, error) {
	select {
	case s.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	done := make(chan loaded, 1)
	go func() {
		defer func() { <-s.busy }()
		done <- s.load(ctx)
	}()
	select {
	case l := <-done:
		return l.ring, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// load remembers an outcome that depends on nothing but what was read, so that a
// file is opened once, however often it is looked at.
func (s *Source) load(ctx context.Context) loaded {
	path, p, err := s.resolve()
	if err != nil {
		return loaded{err: err}
	}
	text, err := readFile(path, maxFileBytes, s.mounted)
	if err != nil {
		return loaded{err: err}
	}
	defer clear(text)
	sum := sha256.Sum256(text)
	for _, known := range []loaded{s.good, s.bad} {
		if known.p == p && known.sum == sum {
			return known
		}
	}
	l := loaded{sum: sum, p: p}
	l.ring, l.id, l.err = s.open(ctx, p, text)
	switch {
	case l.err == nil:
		s.good = l
	case lasting(l.err):
		s.bad = l
	}
	return l
}

func (s *Source) open(ctx context.Context, p *Protection, text []byte) (*keys.Keyring, string, error) {
	d, err := p.openFile(ctx, text)
	if err != nil {
		return nil, "", err
	}
	ring, err := d.Keyring()
	if err == nil {
		err = s.admit(d)
	}
	if err != nil {
		return nil, "", err
	}
	return ring, d.ring, nil
}

// admit applies the rules that span loads: those of this source, then those of
// the process.
func (s *Source) admit(d *Document) error {
	if s.good.id != "" && s.good.id != d.ring {
		return fmt.Errorf("%w: it holds another keyring than before: restart the program to change over", ErrRollback)
	}
	return process.admit(d)
}

// lasting reports whether the same bytes will fail in the same way again.
func lasting(err error) bool {
	for _, class := range []error{ErrFormat, ErrVersion, ErrProtection, ErrRollback} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// process is what this process has seen of all keyring files. It only grows, by
// a few bytes for each key, and there is no way to make it forget.
var process = guard{latest: map[string]seen{}, demoted: map[string]bool{}}

type guard struct {
	mu      sync.Mutex
	latest  map[string]seen // by the id of the keyring
	demoted map[string]bool // ids of keys that have been demoted or further
}

type seen struct {
	generation uint64
	sum        [sha256.Size]byte
}

func (g *guard) admit(d *Document) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	last := g.latest[d.ring]
	switch {
	case d.generation < last.generation:
		return fmt.Errorf("%w: it has generation %d, this process has loaded %d: put the latest file back", ErrRollback, d.generation, last.generation)
	case d.generation == last.generation && d.sum != last.sum:
		return fmt.Errorf("%w: this process has loaded another document of generation %d: two writers worked on copies of the file", ErrRollback, d.generation)
	case g.demoted[d.current().ID]:
		return fmt.Errorf("%w: its current key has been demoted before: stage a fresh key and promote that", ErrRollback)
	}
	g.latest[d.ring] = seen{d.generation, d.sum}
	for _, r := range d.records {
		if r.Role > Current {
			g.demoted[r.ID] = true
		}
	}
	return nil
}
