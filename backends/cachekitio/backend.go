package cachekitio

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/freshness"
	"github.com/cachekit-io/cachekit-go/internal/guard"
)

// Backend stores entries in CachekitIO. It is safe for concurrent use.
type Backend struct {
	transport  *guard.Transport
	base       string // the path of Options.URL, without a slash at the end
	static     static
	meters     meters
	limit      int
	stale      time.Duration
	maxRetries int
}

var (
	_ backends.Backend     = (*Backend)(nil)
	_ backends.EntryReader = (*Backend)(nil)
	_ backends.TTLer       = (*Backend)(nil)
	_ backends.Locker      = (*Backend)(nil)
	_ backends.KeyRuler    = (*Backend)(nil)
	_ backends.Metered     = (*Backend)(nil)
)

// hosts are those of the service (spec/saas-api.md, "SSRF Protection").
var hosts = []string{"api.cachekit.io", "api.staging.cachekit.io"}

// Open connects to the service and asks for its health, so that a wrong address
// or API key shows here. ctx bounds the construction alone.
//
// The error is an *OptionsError, an *backends.Error or that of ctx.
func Open(ctx context.Context, opts *Options) (*Backend, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	var rules guard.Rules
	if !o.AllowCustomHost {
		rules.Hosts = hosts
		rules.Remedies.Hosts = "Options.AllowCustomHost (" + envAllowCustom + ") allows others"
	}
	origin, err := rules.Parse(o.URL)
	if err != nil {
		return nil, refused("Options.URL (%s): %v", envURL, err)
	}
	if err := checkProxy(o); err != nil {
		return nil, err
	}
	b := &Backend{
		transport: guard.New(origin, guard.Config{
			Rules: rules, Timeout: o.Timeout, RootCAs: o.RootCAs, Proxy: o.Proxy, Dial: o.DialContext,
		}),
		base: strings.TrimRight(origin.EscapedPath(), "/"), static: newStatic(o.APIKey),
		limit: o.MaxValueBytes, stale: o.StaleTTL, maxRetries: o.MaxRetries,
	}
	if err := b.Health(ctx).Err; err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

func checkProxy(o Options) error {
	if o.Proxy != nil && (o.Proxy.Scheme != "http" && o.Proxy.Scheme != "https" || o.Proxy.Hostname() == "") {
		return refused("Options.Proxy is no http or https URL with a host")
	}
	return nil
}

// MaxRetries is Options.MaxRetries, resolved: how often package resilient may
// repeat a failed call. 0 means never.
func (b *Backend) MaxRetries() int { return b.maxRetries }

// Get implements [backends.Backend].
func (b *Backend) Get(ctx context.Context, key string) ([]byte, error) {
	resp, err := b.get(ctx, "get", key)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

func (b *Backend) get(ctx context.Context, op, key string) (*guard.Response, error) {
	r, err := of(op, http.MethodGet, key, "")
	if err != nil {
		return nil, err
	}
	r.limit = b.limit
	return b.found(ctx, r)
}

// GetEntry implements [backends.EntryReader]. The API does not tell the TTL with
// the value, so Entry.TTL is 0; it tells for how long a copy may be served, in
// FreshFor, unless the entry has no expiry.
func (b *Backend) GetEntry(ctx context.Context, key string) (backends.Entry, error) {
	resp, err := b.get(ctx, "get entry", key)
	if err != nil {
		return backends.Entry{}, err
	}
	e := backends.Entry{Value: resp.Body, Stale: freshness.Stale(resp.Header[freshness.Header])}
	e.FreshFor, e.Bounded = freshness.For(resp.Header[freshness.ForHeader])
	return e, nil
}

// Set implements [backends.Backend]. A TTL over 30 days, other than NoExpiry, is
// ErrTTL; sub-second TTLs are rounded up.
func (b *Backend) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	r, err := of("set", http.MethodPut, key, "")
	if err != nil {
		return err
	}
	if ttl != backends.NoExpiry {
		n, err := seconds(ttl)
		if err != nil {
			return err
		}
		r.timing(n, staleSeconds(b.stale, n))
	}
	if len(value) > b.limit {
		return failure("set", backends.TooLarge, errTooLarge)
	}
	r.body, r.content = value, valueType
	_, err = b.ok(ctx, r)
	return err
}

// Delete implements [backends.Backend]. The API does not tell whether there was
// an entry: existed is true if the call succeeds.
func (b *Backend) Delete(ctx context.Context, key string) (existed bool, err error) {
	r, err := of("delete", http.MethodDelete, key, "")
	if err != nil {
		return false, err
	}
	return b.removed(ctx, r)
}

// removed takes a 404, which the API's present server never sends, for what it
// says.
func (b *Backend) removed(ctx context.Context, r request) (bool, error) {
	resp, err := b.send(ctx, r)
	switch {
	case err != nil:
		return false, err
	case success(resp):
		return true, nil
	case resp.Status == http.StatusNotFound:
		return false, nil
	}
	return false, refusal(r.op, resp)
}

// Exists implements [backends.Backend].
func (b *Backend) Exists(ctx context.Context, key string) (bool, error) {
	r, err := of("exists", http.MethodHead, key, "")
	if err != nil {
		return false, err
	}
	return present(b.found(ctx, r))
}

// Health implements [backends.Backend]. Details: entries and locks of the tenant
// as far as the service tells.
func (b *Backend) Health(ctx context.Context) backends.Health {
	start := time.Now()
	resp, err := b.ok(ctx, request{op: "health", method: http.MethodGet, target: "health", limit: maxJSONBytes})
	h := backends.Health{OK: err == nil, Err: err, Latency: max(time.Since(start), 1), BackendType: backendType}
	if err == nil {
		h.Details = details(resp.Body)
	}
	return h
}

func details(body []byte) map[string]string {
	var report struct {
		Entries *int64 `json:"cache_entries"`
		Locks   *int64 `json:"active_locks"`
	}
	found := map[string]string{}
	if json.Unmarshal(body, &report) != nil {
		return found
	}
	for name, n := range map[string]*int64{"entries": report.Entries, "locks": report.Locks} {
		if n != nil {
			found[name] = strconv.FormatInt(*n, 10)
		}
	}
	return found
}

// Close implements [backends.Backend]. Calls under way end with ErrClosed.
func (b *Backend) Close() error {
	b.transport.Close()
	return nil
}
