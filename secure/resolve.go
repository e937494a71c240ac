package secure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
	"github.com/cachekit-io/cachekit-go/backends/memcachedbackend"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/keys"
)

// Variables of the resolution chain (spec/intent-presets.md, "Backend
// Resolution"). CACHEKIT_MASTER_KEY and its companion are package keys'.
const (
	envAPIKey    = "CACHEKIT_API_KEY"
	envRedis     = "CACHEKIT_REDIS_URL"
	envMemcached = "CACHEKIT_MEMCACHED_SERVERS"
	envFile      = "CACHEKIT_FILE_CACHE_DIR"
	envPlainURL  = "REDIS_URL"
	envKeyring   = "CACHEKIT_KEYRING"
)

// selectors are the variables of which exactly one may be set.
var selectors = []string{envAPIKey, envRedis, envMemcached, envFile}

var defaultBackend atomic.Pointer[backends.Backend]

// SetDefaultBackend makes b the backend of every cache that is built from now
// on without Options.Backend; nil clears it. It stays the caller's to close.
// Safe for concurrent use.
func SetDefaultBackend(b backends.Backend) {
	if b == nil {
		defaultBackend.Store(nil)
		return
	}
	defaultBackend.Store(&b)
}

// resolved is a backend, and whether the cache has to close it.
type resolved struct {
	backend backends.Backend
	owned   bool
}

// resolveBackend walks the chain: options, default, environment.
func resolveBackend(ctx context.Context, p profile, o *Options) (resolved, error) {
	c := chooseBackend(p, o)
	switch {
	case c.Err != nil:
		return resolved{}, c.Err
	case c.backend != nil:
		return resolved{backend: c.backend}, nil
	}
	if !p.ownBackend {
		o = nil
	}
	b, err := open(ctx, c, o)
	var down *backends.Error
	switch {
	case err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return resolved{}, err
	case errors.As(err, &down):
		return resolved{}, fmt.Errorf("secure: the backend of %s: %w", c.Source, classify(err))
	case err != nil && c.Kind == kinds[envAPIKey]: // it names the option or variable
		return resolved{}, misconfigured("%w", err)
	case err != nil:
		return resolved{}, misconfigured("%s: %w", c.Source, err)
	}
	return resolved{backend: b, owned: true}, nil
}

// selected returns the one selector that the environment sets. A variable that
// is set but empty counts as set: it is a broken deployment, not a choice.
func selected() (name, value string, err error) {
	var found []string
	for _, s := range selectors {
		if v, ok := os.LookupEnv(s); ok {
			found, name, value = append(found, s), s, v
		}
	}
	if len(found) == 0 {
		if v, ok := os.LookupEnv(envPlainURL); ok {
			found, name, value = append(found, envPlainURL), envPlainURL, v
		}
	}
	switch {
	case len(found) > 1:
		return "", "", misconfigured("the environment selects more than one backend, by %s: unset all but one", strings.Join(found, " and "))
	case len(found) == 0:
		return "", "", misconfigured("no backend: set Options.Backend, call SetDefaultBackend, or set one of %s, %s, %s, %s, %s (Options.L1Only needs none)", envAPIKey, envRedis, envMemcached, envFile, envPlainURL)
	case strings.TrimSpace(value) == "":
		return "", "", misconfigured("%s is set but empty: give it a value or unset it", name)
	}
	return name, value, nil
}

// open opens what was chosen; o has the settings of NewIO, or is nil.
func open(ctx context.Context, c chosen, o *Options) (backends.Backend, error) {
	switch c.Kind {
	case kinds[envAPIKey]:
		return openIO(ctx, o)
	case kinds[envMemcached]:
		return memcachedbackend.Open(ctx, c.value, nil)
	case kinds[envFile]:
		return filebackend.Open(c.value, nil)
	}
	return redisbackend.Open(ctx, c.value, nil)
}

// resolveKeyring finds the master keys, and the source that they are from:
// options, then environment.
func resolveKeyring(ctx context.Context, o *Options) (keys.Source, *keys.Keyring, error) {
	var source keys.Source = keys.Environment{}
	switch {
	case o.Keyring != nil:
		source = o.Keyring
	case !o.MasterKey.IsZero():
		ring, err := keys.NewKeyring(o.MasterKey)
		if err != nil {
			return nil, nil, misconfigured("Options.MasterKey: %w", err)
		}
		return ring, ring, nil
	default:
		if _, set := os.LookupEnv(envKeyring); set {
			return nil, nil, misconfigured("%s is set: pass keyfile.FromEnv(nil) as Options.Keyring to have it read, or unset it", envKeyring)
		}
	}
	ring, err := source.Keyring(ctx)
	switch {
	case errors.Is(err, keys.ErrNoKey) && o.Keyring == nil:
		return nil, nil, misconfigured("%w, or give Options.MasterKey or Options.Keyring", err)
	case err != nil:
		return nil, nil, misconfigured("no usable master key: %w", err)
	}
	if ring == nil {
		return nil, nil, misconfigured("Options.Keyring returned no keyring")
	}
	return source, ring, nil
}

// OpenBackend opens the backend that the environment selects, or returns the one
// of SetDefaultBackend, as a constructor would without Options.Backend: for tools
// that look after a storage. What it opens is the caller's to close; ctx bounds
// the opening alone. The error is ErrConfig or ErrUnavailable.
//
// A cache never hands out its backend. Do not write through this one: only a
// cache seals.
func OpenBackend(ctx context.Context) (backends.Backend, error) {
	r, err := resolveBackend(ctx, profileMinimal, new(Options))
	return r.backend, err
}
