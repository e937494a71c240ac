package rekey

import (
	"errors"

	"github.com/cachekit-io/cachekit-go/internal/envelope"
	"github.com/cachekit-io/cachekit-go/internal/store"
	"github.com/cachekit-io/cachekit-go/keys"
)

// Defaults of Config.
const (
	DefaultParallel   = 4
	DefaultPage       = 1000
	DefaultChunkBytes = 4 << 20
)

// ErrCannotSwap says that a storage cannot compare and swap with the TTL kept,
// so entries under an old key can only age out there.
var ErrCannotSwap = errors.New("rekey: this storage cannot compare and swap: entries under an old key end with their TTL")

// ErrCannotScan says that a storage cannot enumerate its keys.
var ErrCannotScan = errors.New("rekey: this storage cannot enumerate its keys: give a list of them")

// Config says what to walk and what to do.
type Config struct {
	Store *store.Store
	Ring  *keys.Keyring
	// Tenant returns the tenant that an entry belongs to, by its storage key;
	// ok is false for entries to leave out. It is called from many goroutines.
	Tenant func(key string) (tenant string, ok bool)
	// Compressed marks the entries as interop/v2.
	Compressed   bool
	RandomNonces bool

	// Prefix limits the walk to storage keys that begin with it, Cursor starts
	// it where an earlier one ended.
	Prefix, Cursor string
	// Keys, if given, is walked instead of scanning: it calls yield for each key
	// until yield returns false.
	Keys func(yield func(key string) bool) error

	// Reseal replaces entries that open under an old key. Without it the walk
	// only counts.
	Reseal bool
	// Verify reads what was replaced once more and opens it.
	Verify bool
	// Ages asks for the remaining TTL of every entry, which costs a round trip
	// each, and counts those without one.
	Ages bool

	// Page is how many keys are scanned at once, Parallel how many pages are in
	// work. ChunkBytes is how many bytes of entries are in work for each page,
	// going by the largest entry seen so far.
	Page, Parallel, ChunkBytes int
	// Rate limits the walk to entries a second; 0 does not.
	Rate int
	// Progress, if given, is called after every page, by one goroutine at a time.
	Progress func(Report)
	// Failed, if given, is called for each entry that did not open or could not
	// be read or replaced, by one goroutine at a time.
	Failed func(key string, err error)
}

func (c Config) withDefaults() Config {
	def := func(n *int, value int) {
		if *n <= 0 {
			*n = value
		}
	}
	def(&c.Parallel, DefaultParallel)
	def(&c.Page, DefaultPage)
	def(&c.ChunkBytes, DefaultChunkBytes)
	return c
}

// tenant opens and seals the entries of one tenant.
type tenant struct {
	name   string
	prints []keys.Fingerprint
	box    *envelope.Box
}

func (c Config) tenant(name string) (*tenant, error) {
	prints, err := c.Ring.Fingerprints(name)
	if err != nil {
		return nil, err
	}
	box, err := envelope.New(c.Ring, envelope.Config{Tenant: name, Compressed: c.Compressed, RandomNonces: c.RandomNonces})
	if err != nil {
		return nil, err
	}
	return &tenant{name, prints, box}, nil
}
