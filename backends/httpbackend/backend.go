package httpbackend

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/guard"
	"github.com/cachekit-io/cachekit-go/internal/pathkey"
)

// Backend stores entries in an HTTP server. It is safe for concurrent use.
type Backend struct {
	transport *guard.Transport
	options   Options
	urls      template
	// headers returns those of requests without and with a value: a function, so
	// that printing a Backend shows no credential.
	headers func() (bare, valued http.Header)
	framed  bool
	closed  atomic.Bool
}

var (
	_ backends.Backend     = (*Backend)(nil)
	_ backends.EntryReader = (*Backend)(nil)
	_ backends.KeyRuler    = (*Backend)(nil)
)

// Open makes a backend and one round trip to the server, so that a wrong address
// or credential shows here. ctx bounds that alone.
//
// rawURL holds {key} once, in its path or query, and may hold {ttl} as the value
// of a query parameter, which then is sent with writes:
//
//	https://kv.example.com/cache/{key}
//	https://kv.example.com/v1/kv?name={key}&expires_in={ttl}
//
// A URL or Options that cannot work are an [*OptionsError].
func Open(ctx context.Context, rawURL string, opts *Options) (*Backend, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	b, err := newBackend(rawURL, o)
	if err != nil {
		return nil, err
	}
	if err := b.Health(ctx).Err; err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

func newBackend(rawURL string, o Options) (*Backend, error) {
	rules := guard.Rules{Plain: o.PlainHTTP, Private: o.PrivateNetwork}
	origin, urls, err := parseTemplate(rawURL, rules)
	switch {
	case err != nil:
		return nil, err
	case urls.told && (o.StoreExpires || o.TTLHeader != ""):
		return nil, &OptionsError{"{ttl} in the URL excludes Options.TTLHeader and Options.StoreExpires"}
	case o.Proxy != nil && origin.Scheme != "https":
		return nil, &OptionsError{"Options.Proxy serves https URLs alone"}
	}
	b := &Backend{options: o, urls: urls, framed: !urls.told && o.TTLHeader == "" && !o.StoreExpires}
	header := http.Header{"User-Agent": {"cachekit-go"}}
	for name, values := range o.Header {
		header[http.CanonicalHeaderKey(name)] = append([]string(nil), values...)
	}
	header.Set("Accept-Encoding", "identity")
	o.Credential.set(header)
	valued := header.Clone()
	valued.Set("Content-Type", "application/octet-stream")
	b.headers = func() (_, _ http.Header) { return header, valued }
	b.transport = guard.New(origin, guard.Config{
		Rules: rules, Timeout: o.Timeout, PingAfter: o.PingAfter, PingTimeout: o.PingTimeout, MaxConns: o.MaxConns,
		RootCAs: o.RootCAs, ClientCertificate: o.ClientCertificate, Proxy: o.Proxy, Dial: o.DialContext,
	})
	return b, nil
}

const reserved = "key is a name that is reserved in URLs"

// KeyRules implements [backends.KeyRuler]: Options.KeyRules, and the segments that
// URLs give a meaning of their own or that the family's HTTP API reserves: ".",
// "..", "health", "ttl" and "lock".
func (b *Backend) KeyRules() backends.KeyRules {
	own := b.options.KeyRules
	return backends.KeyRules{MaxBytes: own.MaxBytes, Refuse: func(key string) string {
		if _, err := pathkey.Encode(key); err != nil {
			return reserved
		}
		if own.Refuse != nil {
			return own.Refuse(key)
		}
		return ""
	}}
}

// request is a call in the terms of this package.
type request struct {
	op, method, key string
	ttl             string
	body            []byte
	valued          bool // body is a value, also if it is empty
	limit           int
	extra           struct{ name, value string } // a header more
}

// send makes a call. A miss is an answer like others.
func (b *Backend) send(ctx context.Context, r request) (*guard.Response, error) {
	if err := b.options.KeyRules.Check(r.key); err != nil {
		return nil, err
	}
	target, err := b.urls.target(r.key, r.ttl)
	if err != nil {
		return nil, &backends.KeyError{Reason: reserved}
	}
	return b.sendTo(ctx, target, r)
}

func (b *Backend) sendTo(ctx context.Context, target string, r request) (*guard.Response, error) {
	if b.closed.Load() {
		return nil, backends.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	header, valued := b.headers()
	if r.valued {
		header = valued
	}
	if r.extra.name != "" || b.options.Authorize != nil {
		header = header.Clone()
	}
	if r.extra.name != "" {
		header.Set(r.extra.name, r.extra.value)
	}
	if b.options.Authorize != nil {
		if err := b.authorize(ctx, r.op, header); err != nil {
			return nil, err
		}
	}
	resp, err := b.transport.Do(ctx, guard.Request{Method: r.method, Target: target, Header: header, Body: r.body, Limit: r.limit})
	return resp, guard.Failure(ctx, backendType, r.op, err)
}

// Get implements [backends.Backend].
func (b *Backend) Get(ctx context.Context, key string) ([]byte, error) {
	e, err := b.entry(ctx, "get", key)
	return e.Value, err
}

// GetEntry implements [backends.EntryReader]. The TTL left is known if entries
// are framed or the server tells it ([Options.RemainingHeader]), otherwise it is
// 0.
func (b *Backend) GetEntry(ctx context.Context, key string) (backends.Entry, error) {
	return b.entry(ctx, "get entry", key)
}

func (b *Backend) entry(ctx context.Context, op, key string) (backends.Entry, error) {
	limit := b.options.MaxValueBytes
	if b.framed {
		limit += frameBytes
	}
	resp, err := b.send(ctx, request{op: op, method: b.options.Methods.Get, key: key, limit: limit})
	if err != nil {
		return backends.Entry{}, err
	}
	switch o := b.outcome(resp.Status, true); o {
	case Success:
		return b.open(op, resp)
	case Missing:
		return backends.Entry{}, backends.ErrNotFound
	default:
		return backends.Entry{}, refusal(op, o, resp)
	}
}

// open takes a value out of an answer.
func (b *Backend) open(op string, resp *guard.Response) (e backends.Entry, err error) {
	now := time.Now()
	e.Value = resp.Body
	switch {
	case b.framed:
		e.Value, e.TTL, err = unframe(resp.Body, now)
	case b.options.RemainingHeader != "":
		e.TTL = b.options.TTLFormat.parse(resp.Header.Get(b.options.RemainingHeader), serverTime(resp, now))
	}
	if errors.Is(err, errFrame) {
		err = &backends.Error{Op: op, Backend: backendType, Kind: backends.Permanent, Err: err}
	}
	return e, err
}

// serverTime is the server's clock, so that a TTL left that is written as a time
// does not depend on ours.
func serverTime(resp *guard.Response, fallback time.Time) time.Time {
	if t, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		return t
	}
	return fallback
}

// Set implements [backends.Backend].
func (b *Backend) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	switch {
	case ttl <= 0:
		return backends.ErrTTL
	case len(value) > b.options.MaxValueBytes:
		return &backends.Error{Op: "set", Backend: backendType, Kind: backends.TooLarge, Err: errValueTooLarge}
	}
	r := request{op: "set", method: b.options.Methods.Set, key: key, body: value, valued: true}
	switch told := ttl != backends.NoExpiry; {
	case b.framed:
		r.body = frame(value, ttl, time.Now())
	case b.options.TTLHeader != "" && told:
		r.extra.name, r.extra.value = b.options.TTLHeader, b.options.TTLFormat.format(ttl, time.Now())
	case b.urls.told && told:
		r.ttl = b.options.TTLFormat.format(ttl, time.Now())
	}
	resp, err := b.send(ctx, r)
	if err != nil {
		return err
	}
	switch o := b.outcome(resp.Status, false); o {
	case Success:
		return nil
	case Missing: // of a place to write to
		return refusal("set", Permanent, resp)
	default:
		return refusal("set", o, resp)
	}
}

// Delete implements [backends.Backend]. Whether there was an entry is what the
// server says: one that answers in the 200s whatever there was makes it true.
func (b *Backend) Delete(ctx context.Context, key string) (bool, error) {
	return b.ask(ctx, request{op: "delete", method: b.options.Methods.Delete, key: key})
}

// Exists implements [backends.Backend].
func (b *Backend) Exists(ctx context.Context, key string) (bool, error) {
	if b.framed {
		return b.peek(ctx, key)
	}
	return b.ask(ctx, request{op: "exists", method: b.options.Methods.Exists, key: key, limit: b.options.MaxValueBytes})
}

// ask makes a call whose answer is yes or no.
func (b *Backend) ask(ctx context.Context, r request) (bool, error) {
	resp, err := b.send(ctx, r)
	if err != nil {
		return false, err
	}
	switch o := b.outcome(resp.Status, false); o {
	case Success, Missing:
		return o == Success, nil
	default:
		return false, refusal(r.op, o, resp)
	}
}

// peek reads the frame of an entry alone, if the server knows ranges.
func (b *Backend) peek(ctx context.Context, key string) (bool, error) {
	const op = "exists"
	r := request{op: op, method: b.options.Methods.Get, key: key, limit: b.options.MaxValueBytes + frameBytes}
	r.extra.name, r.extra.value = "Range", "bytes=0-"+strconv.Itoa(frameBytes-1)
	resp, err := b.send(ctx, r)
	if err != nil {
		return false, err
	}
	o := b.outcome(resp.Status, true)
	if resp.Status == http.StatusPartialContent {
		o = Success
	}
	switch o {
	case Success:
		_, err := b.open(op, resp)
		if errors.Is(err, backends.ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	case Missing:
		return false, nil
	default:
		return false, refusal(op, o, resp)
	}
}

// healthKey is one that nobody uses.
const healthKey = "cachekit-health"

// Health implements [backends.Backend]: it asks for Options.HealthPath, or
// whether there is an entry that nobody writes. Details: the protocol.
func (b *Backend) Health(ctx context.Context) backends.Health {
	start := time.Now()
	protocol, err := b.probe(ctx)
	h := backends.Health{OK: err == nil, Err: err, Latency: time.Since(start), BackendType: backendType}
	if err == nil {
		h.Details = map[string]string{"protocol": protocol}
	}
	return h
}

func (b *Backend) probe(ctx context.Context) (protocol string, err error) {
	const op = "health"
	r := request{op: op, method: b.options.Methods.Exists, limit: b.options.MaxValueBytes}
	target := b.options.HealthPath
	if target != "" {
		r.method = http.MethodGet
	} else if target, err = b.urls.target(healthKey, ""); err != nil {
		return "", err
	}
	resp, err := b.sendTo(ctx, target, r)
	if err != nil {
		return "", err
	}
	o := b.outcome(resp.Status, false)
	if o == Success || o == Missing && b.options.HealthPath == "" {
		return resp.Proto, nil
	}
	if o == Missing {
		o = Permanent
	}
	return "", refusal(op, o, resp)
}

// Close implements [backends.Backend]. Calls under way end with ErrClosed.
func (b *Backend) Close() error {
	b.closed.Store(true)
	b.transport.Close()
	return nil
}
