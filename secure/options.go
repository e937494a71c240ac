package secure

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
	"github.com/cachekit-io/cachekit-go/codec/interop"
	"github.com/cachekit-io/cachekit-go/keys"
)

// NoExpiry is the TTL of an entry that stays until it is deleted or evicted.
const NoExpiry = backends.NoExpiry

// Defaults of Options.
const (
	DefaultL1Bytes       = 64 << 20
	DefaultMaxValueBytes = 25_000_000
	defaultNegativeTTL   = 10 * time.Second
	defaultBackfillTTL   = 30 * time.Second
	defaultLoadTimeout   = 30 * time.Second
)

// Switch turns a feature on or off against its profile. The zero value leaves
// it as the profile has it.
type Switch uint8

// The two positions of a Switch.
const (
	On Switch = iota + 1
	Off
)

// TamperPolicy says what GetOrLoad and the functions of Func do when an entry
// fails authentication. The zero value returns the error and does not run the
// loader.
type TamperPolicy uint8

// Recompute runs the loader over an entry that failed authentication and
// replaces it. The failure is still logged and counted.
const Recompute TamperPolicy = 1

// Options configures a cache. A nil *Options, or a field left at its zero
// value, is the default of the profile. Options are copied; changing them later
// has no effect. Secrets sit in types that do not print.
type Options struct {
	// Backend is where sealed entries are stored. It stays open when the cache
	// is closed. Nil takes the default backend, then the environment (see
	// "Resolution" in the package documentation).
	Backend backends.Backend
	// Namespace is put before every key as "namespace:". It must match
	// [a-z0-9][a-z0-9._-]{0,63} and not be "ns" or "nsapi" or contain "..". A
	// cache without one can address the keys of every namespace.
	Namespace string
	// Tenant separates keys by derivation: what one tenant sealed does not open
	// for another. 1 to 255 bytes of UTF-8; "" means "default". The tenant is
	// not part of the storage key, so give each tenant its own Namespace.
	Tenant string

	// Keyring is where master keys come from: a *keys.Keyring, or a keyring file
	// by keyfile.Open or keyfile.FromEnv. A keys.Refresher such as the latter is
	// followed: a changed keyring is taken over without a restart; a broken,
	// older or unreadable one is logged and the one in use kept. Give this or MasterKey, or neither to
	// read CACHEKIT_MASTER_KEY and CACHEKIT_PREVIOUS_MASTER_KEYS.
	Keyring keys.Source
	// MasterKey is the one key to use, without decrypt-only keys.
	MasterKey keys.MasterKey
	// APIKey authenticates NewIO; other constructors refuse it. Its zero value
	// takes that of CachekitIO, then CACHEKIT_API_KEY.
	APIKey cachekitio.APIKey
	// CachekitIO has the other settings of NewIO's backend; other constructors
	// refuse it. Nil takes CACHEKIT_API_URL and the rest of what
	// cachekitio.FromEnv reads.
	CachekitIO *cachekitio.Options
	// KeyNameSecret, if given, hides key names from the storage: what follows
	// "namespace:" is stored as a keyed BLAKE2b-256. Keep it for as long as the
	// entries live; rotating master keys does not touch it.
	KeyNameSecret keys.NameSecret

	// TTL is the time to live of Set and of loaded values. Positive, or
	// NoExpiry; 0 takes the profile's.
	TTL time.Duration
	// NegativeTTL is how long ErrAbsent is remembered, in this process only.
	// Default 10 s.
	NegativeTTL time.Duration
	// LoadTimeout bounds a shared load (backend read, loader and write), which
	// no single caller's context does. Default 30 s.
	LoadTimeout time.Duration
	// MaxValueBytes is the largest serialised value, both ways. Default 25 MB.
	MaxValueBytes int

	// NoL1 switches the in-process layer off. L1Only keeps everything in it and
	// needs no backend.
	NoL1   bool
	L1Only bool
	// L1Bytes bounds the in-process layer. Default 64 MiB.
	L1Bytes int64
	// L1BackfillTTL bounds the life of an in-process copy made by a read.
	// Default 30 s.
	L1BackfillTTL time.Duration
	// Coherence, if On, drops in-process copies of what other processes write or
	// delete, within milliseconds, as the backend reports it (a
	// backends.Watcher: Redis 6 or newer). The default is Off in every profile.
	//
	// While the reports fail, which is noticed within about 2 s, nothing is copied
	// in this process and every read goes to the backend. What this process writes
	// itself by Set and Delete keeps its copy; a batch, a background refresh or a
	// value above 64 KiB is read from Redis once. The first use of a further namespace (Cache.Namespace, Cache.Op)
	// starts reports about it. See docs/coherence.md for what is guaranteed.
	Coherence Switch
	// StaleWhileRevalidate overrides the profile: whether GetOrLoad serves an
	// entry in the second half of its life from the in-process layer, or one that
	// CachekitIO serves past its TTL (cachekitio.Options.StaleTTL), while one
	// background load refreshes it. If it is off, an entry past its TTL is a miss
	// for GetOrLoad; Get and GetMany return it.
	StaleWhileRevalidate Switch
	// FillLock says whether a load of GetOrLoad, GetOrLoadMany or Func takes the lock
	// of each of its keys where the backend has locks, so that of all processes one
	// loads: On unless it is Off. Others wait for its value, for 10 s at most, and
	// load then themselves; a background refresh leaves it to the one at once. The
	// lock ends after 5 s and is not prolonged, so that a process that died delays
	// others for no longer: a load that takes up to 5 s runs once in the fleet, one
	// of up to 10 s twice, a longer one in each process that waits for it. The locks
	// are those of the sister SDKs ("<key>:lock"). A load costs the backend three
	// more calls a key, to lock, read again and unlock, of which it waits for the
	// first two; those of a batch go together where the backend can (Redis: one round
	// trip for each of the three), or else 16 at a time.
	FillLock Switch
	// Reliability overrides the profile: whether the backend, whichever it is, is
	// wrapped in package resilient (retries, circuit breaker, bound on concurrent
	// calls). A backend that is a *resilient.Backend already is taken as it is.
	Reliability Switch
	// ReliabilityOptions are those of the wrapper; giving them is Reliability
	// On. Nil takes its defaults. Changes of the circuit are logged beside
	// OnStateChange.
	ReliabilityOptions *resilient.Options
	// OnTamper is what loads do about an entry that fails authentication.
	OnTamper TamperPolicy

	// Plaintext switches encryption off, for sharing entries with clients that
	// do not encrypt. The secure profile refuses it, and so does a key given
	// beside it.
	Plaintext bool
	// InteropV2 stores values in the family's compressed container (draft
	// interop/v2). Every reader and writer of the namespace must be set to it:
	// the mode is bound into the authentication and never guessed.
	//
	// Compression before encryption lets the stored size tell how well a value
	// compresses. Where an attacker can put chosen text into the same value as
	// a secret, that reveals the secret byte by byte (as CRIME and BREACH did).
	// Leave it off for such values.
	InteropV2 bool
	// RandomNonces draws each nonce from the operating system instead of
	// counting from a random start: for platforms that clone running virtual
	// machines. It costs about 100 ns a write. FIPS 140-only mode implies it.
	RandomNonces bool

	// Logger receives what an operator must know: failed authentications,
	// outages that a load absorbed, failed refreshes, the nonce budget. Keys
	// appear as labels only. Default slog.Default().
	Logger *slog.Logger
	// Observer, if given, is told what the cache does.
	Observer *Observer
}

// settings are validated options with every default filled in. They hold
// neither the backend nor a key.
type settings struct {
	profile                                      profile
	namespace, tenant                            string
	ttl, negativeTTL, loadTimeout, l1BackfillTTL time.Duration
	maxValueBytes                                int
	l1, l1Only, swr, serveStale                  bool
	l1Bytes                                      int64
	reliable, fillLock                           bool
	recompute, plaintext, v2, randomNonces       bool
	log                                          *slog.Logger
	observer                                     *Observer
}

func misconfigured(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrConfig, fmt.Errorf(format, args...))
}

func (p profile) settings(o *Options) (settings, error) {
	if err := p.check(o); err != nil {
		return settings{}, err
	}
	s := settings{
		profile: p, namespace: o.Namespace, tenant: or(o.Tenant, keys.DefaultTenant),
		ttl: or(o.TTL, p.ttl), negativeTTL: or(o.NegativeTTL, defaultNegativeTTL),
		loadTimeout: or(o.LoadTimeout, defaultLoadTimeout), l1BackfillTTL: or(o.L1BackfillTTL, defaultBackfillTTL),
		maxValueBytes: or(o.MaxValueBytes, DefaultMaxValueBytes),
		l1:            !o.NoL1, l1Only: o.L1Only, l1Bytes: or(o.L1Bytes, DefaultL1Bytes),
		serveStale: o.StaleWhileRevalidate == On || p.swr && o.StaleWhileRevalidate != Off,
		recompute:  o.OnTamper == Recompute, plaintext: o.Plaintext, v2: o.InteropV2, randomNonces: o.RandomNonces,
		reliable: o.ReliabilityOptions != nil || o.Reliability == On || p.reliable && o.Reliability != Off,
		log:      or(o.Logger, slog.Default()),
		observer: copied(o.Observer),
	}
	s.swr = s.l1 && s.serveStale
	if err := keys.CheckTenant(s.tenant); err != nil {
		return settings{}, misconfigured("Options.Tenant: %w", err)
	}
	if s.namespace != "" {
		if err := interop.CheckNamespace(s.namespace); err != nil {
			return settings{}, misconfigured("Options.Namespace: %w", err)
		}
	}
	return s, nil
}

func copied(o *Observer) *Observer {
	if o == nil {
		return nil
	}
	v := *o
	return &v
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// check refuses options that contradict each other or the profile.
func (p profile) check(o *Options) error {
	for _, f := range []struct {
		name     string
		negative bool
	}{
		{"TTL", o.TTL < 0}, {"NegativeTTL", o.NegativeTTL < 0}, {"LoadTimeout", o.LoadTimeout < 0},
		{"L1BackfillTTL", o.L1BackfillTTL < 0}, {"MaxValueBytes", o.MaxValueBytes < 0}, {"L1Bytes", o.L1Bytes < 0},
	} {
		if f.negative {
			return misconfigured("Options.%s is negative", f.name)
		}
	}
	switch {
	case o.StaleWhileRevalidate > Off:
		return misconfigured("Options.StaleWhileRevalidate is neither On nor Off")
	case o.OnTamper > Recompute:
		return misconfigured("Options.OnTamper is not a known policy")
	case o.L1Only && o.NoL1:
		return misconfigured("Options.L1Only and Options.NoL1 exclude each other")
	case o.L1Only && o.Backend != nil:
		return misconfigured("Options.L1Only keeps everything in the process: leave Options.Backend out")
	case o.L1Only && o.InteropV2:
		return misconfigured("Options.InteropV2 is a storage format: it does nothing with Options.L1Only")
	case o.NoL1 && (o.L1Bytes != 0 || o.L1BackfillTTL != 0 || o.StaleWhileRevalidate == On && !p.ownBackend):
		return misconfigured("Options.NoL1 leaves nothing for L1Bytes, L1BackfillTTL or StaleWhileRevalidate to act on")
	case o.L1Only && o.L1BackfillTTL != 0:
		return misconfigured("Options.L1BackfillTTL does nothing with Options.L1Only")
	case o.Plaintext && p.sealedOnly:
		return misconfigured("the %s profile never stores plaintext: use NewMinimal or NewProduction to share entries with unencrypted clients", p.name)
	case o.Plaintext && (o.Keyring != nil || !o.MasterKey.IsZero()):
		return misconfigured("a key is given together with Options.Plaintext: drop one of them")
	case o.Plaintext && (o.RandomNonces || o.OnTamper != 0):
		return misconfigured("Options.RandomNonces and Options.OnTamper do nothing with Options.Plaintext")
	case o.Keyring != nil && !o.MasterKey.IsZero():
		return misconfigured("give Options.Keyring or Options.MasterKey, not both")
	case !p.ownBackend && (!o.APIKey.IsZero() || o.CachekitIO != nil):
		return misconfigured("Options.APIKey and Options.CachekitIO are for NewIO: give other constructors a cachekitio.Backend as Options.Backend")
	case p.ownBackend && !o.APIKey.IsZero() && o.CachekitIO != nil && !o.CachekitIO.APIKey.IsZero():
		return misconfigured("Options.APIKey and Options.CachekitIO.APIKey are both set: drop one of them")
	case p.ownBackend && o.TTL != NoExpiry && o.TTL > maxIOTTL:
		return misconfigured("CachekitIO keeps entries for 30 days at most, or without expiry: Options.TTL is longer")
	case p.ownBackend && o.Backend != nil:
		return misconfigured("the %s profile builds its own backend: leave Options.Backend out", p.name)
	case p.ownBackend && o.L1Only:
		return misconfigured("the %s profile is a service: use another profile with Options.L1Only", p.name)
	}
	if o.FillLock > Off || o.L1Only && o.FillLock == On {
		return misconfigured("Options.FillLock is neither On nor Off, or On with Options.L1Only")
	}
	if err := checkCoherence(o); err != nil {
		return err
	}
	return p.checkReliability(o)
}
