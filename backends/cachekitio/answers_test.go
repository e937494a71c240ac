package cachekitio_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
)

// calls are those that a status can answer.
func calls(ctx context.Context, b *cachekitio.Backend) map[string]func() error {
	return map[string]func() error{
		"get":       func() error { _, err := b.Get(ctx, "canary"); return err },
		"get entry": func() error { _, err := b.GetEntry(ctx, "canary"); return err },
		"set":       func() error { return b.Set(ctx, "canary", []byte("canary"), time.Hour) },
		"delete":    func() error { _, err := b.Delete(ctx, "canary"); return err },
		"exists":    func() error { _, err := b.Exists(ctx, "canary"); return err },
		"ttl":       func() error { _, err := b.TTL(ctx, "canary"); return err },
		"touch":     func() error { _, err := b.Touch(ctx, "canary", time.Hour); return err },
		"lock":      func() error { _, err := b.Lock(ctx, "canary", time.Hour); return err },
		"unlock":    func() error { _, err := b.Unlock(ctx, "canary", "token"); return err },
		"health":    func() error { return b.Health(ctx).Err },
	}
}

// Rule: the class of a failure follows the status, as spec/saas-api.md classifies
// them; its text names the status and never what the server said.
func TestStatuses(t *testing.T) {
	s := serve(t, nil)
	b := open(t, s.Options())
	for status, kind := range map[int]backends.Kind{
		301: backends.Permanent, 302: backends.Permanent, 307: backends.Permanent, 308: backends.Permanent,
		400: backends.Permanent, 401: backends.Auth, 403: backends.Auth, 405: backends.Permanent, 413: backends.TooLarge, 418: backends.Permanent,
		429: backends.Transient, 500: backends.Transient, 502: backends.Transient, 503: backends.Transient, 504: backends.Transient, 530: backends.Transient,
	} {
		s.Inject(iotest.Fault{Kind: iotest.Answer, Status: status, RetryAfter: "7", Header: http.Header{"Location": {"https://evil.example/canary"}},
			Body: []byte(`{"error": "canary ` + s.APIKey() + `"}`)})
		for op, call := range calls(t.Context(), b) {
			var e *backends.Error
			var answer *cachekitio.StatusError
			err := call()
			if !errors.As(err, &e) || !errors.As(err, &answer) || e.Kind != kind || e.Op != op || e.RetryAfter != 7*time.Second || answer.Code != status || answer.QuotaSpent {
				t.Errorf("%s, %d = %v, want kind %s and a wait of 7 s", op, status, err, kind)
			}
			if text := fmt.Sprintf("%v %+v", err, e); strings.Contains(text, "canary") || strings.Contains(text, "ck_sdk") {
				t.Errorf("%s, %d: the text shows what was sent or answered", op, status)
			}
		}
		s.Heal()
	}
}

func TestMissesAreNoFailures(t *testing.T) {
	s := serve(t, nil)
	b := open(t, s.Options())
	s.Inject(iotest.Fault{Kind: iotest.Answer, Status: 404})
	for op, call := range calls(t.Context(), b) {
		err := call()
		switch op {
		case "get", "get entry", "ttl":
			if !errors.Is(err, backends.ErrNotFound) {
				t.Errorf("%s = %v, want ErrNotFound", op, err)
			}
		case "delete", "exists", "touch", "unlock":
			if err != nil {
				t.Errorf("%s = %v, want nil", op, err)
			}
		default:
			if kindOf(err) != backends.Permanent {
				t.Errorf("%s = %v, want Permanent", op, err)
			}
		}
	}
}

func TestLimitsOfATenant(t *testing.T) {
	s := serve(t, nil)
	b := open(t, s.Options())
	s.Limit("default", iotest.Limits{PerMinute: 1})
	b.Exists(t.Context(), "k")
	var e *backends.Error
	var answer *cachekitio.StatusError
	_, err := b.Exists(t.Context(), "k")
	if !errors.As(err, &e) || !errors.As(err, &answer) || e.Kind != backends.Transient || e.RetryAfter <= 0 || e.RetryAfter > time.Minute || answer.QuotaSpent {
		t.Errorf("over the rate: %v, retry after %v", err, e.RetryAfter)
	}
	s.Limit("default", iotest.Limits{Quota: 1})
	b.Exists(t.Context(), "k")
	if _, err = b.Exists(t.Context(), "k"); !errors.As(err, &answer) || kindOf(err) != backends.Permanent || !answer.QuotaSpent {
		t.Errorf("over the quota: %v", err)
	}
}

// Rule: a spent quota is not retried and not counted as an outage; the wait that
// the service names is told.
func TestSpentQuotaIsNeitherRetriedNorAnOutage(t *testing.T) {
	s := serve(t, nil)
	var changes []resilient.State
	b, err := resilient.New(open(t, s.Options()), &resilient.Options{Failures: 2, OnStateChange: func(_, to resilient.State) { changes = append(changes, to) }})
	if err != nil {
		t.Fatal(err)
	}
	s.Inject(iotest.Fault{Kind: iotest.Answer, Status: 429, RetryAfter: "3600", Header: http.Header{"X-Cachekit-Deny-Reason": {"quota"}}})
	for op, call := range map[string]func() error{
		"get":    func() error { _, err := b.Get(t.Context(), "k"); return err },
		"set":    func() error { return b.Set(t.Context(), "k", nil, time.Hour) },
		"delete": func() error { _, err := b.Delete(t.Context(), "k"); return err },
		"touch":  func() error { _, err := b.Capabilities().TTLer.Touch(t.Context(), "k", time.Hour); return err },
		"lock":   func() error { _, err := b.Capabilities().Locker.Lock(t.Context(), "k", time.Hour); return err },
	} {
		before := len(s.Requests())
		err := call()
		var e *backends.Error
		var answer *cachekitio.StatusError
		if !errors.As(err, &e) || !errors.As(err, &answer) || !answer.QuotaSpent || e.RetryAfter != time.Hour || !strings.Contains(err.Error(), "1h0m0s") {
			t.Errorf("%s = %v, want a spent quota and a wait of an hour", op, err)
		}
		if backends.IsOutage(err) {
			t.Errorf("%s: a spent quota counts as an outage", op)
		}
		if sent := len(s.Requests()) - before; sent != 1 {
			t.Errorf("%s: %d requests, want 1", op, sent)
		}
	}
	if len(changes) != 0 {
		t.Errorf("the breaker changed to %v", changes)
	}
	s.Heal()
	if _, err := b.Exists(t.Context(), "k"); err != nil {
		t.Errorf("once the quota is renewed: %v", err)
	}
}

// Rule: the classes of keys write what they may, reads are open, and a refusal is
// one of credentials.
func TestClassesOfKeys(t *testing.T) {
	s := serve(t, nil)
	for class, may := range map[cachekitio.Class]map[string]bool{
		cachekitio.SDK:    {"ns:a:k": true, "nsapi:a:k": false, "k": true},
		cachekitio.Direct: {"ns:a:k": false, "nsapi:a:k": true, "k": true},
		cachekitio.Legacy: {"ns:a:k": true, "nsapi:a:k": true, "k": true},
	} {
		b := open(t, options(s, func(o *cachekitio.Options) { o.APIKey = apiKey(t, s.NewKey(class, "default")) }))
		for key, ok := range may {
			err := b.Set(t.Context(), key, []byte("v"), time.Hour)
			if ok && err != nil || !ok && kindOf(err) != backends.Auth {
				t.Errorf("class %d writes %s: %v", class, key, err)
			}
			if _, err := b.Exists(t.Context(), key); err != nil {
				t.Errorf("class %d reads %s: %v", class, key, err)
			}
		}
	}
}

// Rule: an answer is bounded before memory is taken for it, whether the server
// says how long it is or not, and an answer that breaks off is no value.
func TestLyingServers(t *testing.T) {
	s := serve(t, nil)
	b := open(t, options(s, func(o *cachekitio.Options) { o.MaxValueBytes = 1000 }))
	put(t, b, "k", time.Hour)
	ctx := t.Context()
	for _, tc := range []struct {
		rule  string
		fault iotest.Fault
		want  backends.Kind
	}{
		{"a value over the bound", iotest.Fault{Kind: iotest.Answer, Body: make([]byte, 1001)}, backends.TooLarge},
		{"a value without a length over the bound", iotest.Fault{Kind: iotest.Answer, Size: 1 << 30}, backends.TooLarge},
		{"half a value", iotest.Fault{Kind: iotest.Half}, backends.Transient},
		{"half a value, then silence", iotest.Fault{Kind: iotest.HalfStall}, backends.Timeout},
		{"an encoding that nobody asked for", iotest.Fault{Kind: iotest.Answer, Header: http.Header{"Content-Encoding": {"gzip"}}, Body: []byte("x")}, backends.Permanent},
		{"a success without a value", iotest.Fault{Kind: iotest.Answer, Status: 204}, backends.Permanent},
		{"a part of the value", iotest.Fault{Kind: iotest.Answer, Status: 206, Body: []byte("x")}, backends.Permanent},
		{"the end of the stream", iotest.Fault{Kind: iotest.ResetStream}, backends.Transient},
	} {
		s.Inject(tc.fault)
		b := b
		if tc.want == backends.Timeout {
			s.Heal()
			b = open(t, options(s, func(o *cachekitio.Options) { o.Timeout = 300 * time.Millisecond }))
			s.Inject(tc.fault)
		}
		if v, err := b.Get(ctx, "k"); kindOf(err) != tc.want || v != nil {
			t.Errorf("%s: %d bytes, %v, want %s", tc.rule, len(v), err, tc.want)
		}
		s.Heal()
		if v, err := b.Get(ctx, "k"); err != nil || string(v) != "value of k" {
			t.Errorf("after %s: %q, %v", tc.rule, v, err)
		}
	}
	s.Inject(iotest.Fault{Kind: iotest.Answer, Size: 1 << 20})
	if _, err := b.TTL(ctx, "k"); kindOf(err) != backends.Transient {
		t.Errorf("a TTL of 1 MiB: %v", err)
	}
	if _, err := b.Lock(ctx, "k", time.Hour); kindOf(err) != backends.Transient {
		t.Errorf("a lock of 1 MiB: %v", err)
	}
}

// Rule: the largest value of the service goes both ways with the default
// bounds, and one byte more is its 413.
func TestTheLargestValue(t *testing.T) {
	s := serve(t, nil)
	b := open(t, options(s, func(o *cachekitio.Options) { o.Timeout = time.Minute }))
	value := make([]byte, 25<<20)
	if err := b.Set(t.Context(), "k", value, time.Hour); err != nil {
		t.Fatal(err)
	}
	if v, err := b.Get(t.Context(), "k"); err != nil || len(v) != len(value) {
		t.Errorf("Get = %d bytes, %v", len(v), err)
	}
	var answer *cachekitio.StatusError
	if err := b.Set(t.Context(), "k", append(value, 0), time.Hour); kindOf(err) != backends.TooLarge || !errors.As(err, &answer) {
		t.Errorf("Set of a byte more = %v, want TooLarge by the service", err)
	}
}

func TestNothingPrintsTheKey(t *testing.T) {
	s := serve(t, nil)
	b := open(t, s.Options())
	stop := b.Meter(func() backends.Counters { return backends.Counters{} })
	defer stop()
	bare := strings.TrimPrefix(s.APIKey(), "ck_sdk_")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		for _, x := range []any{b, []any{b}, s.Options(), *s.Options()} {
			if text := fmt.Sprintf(verb, x); strings.Contains(text, bare) || strings.Contains(text, fmt.Sprintf("%x", bare)) {
				t.Errorf("%s of %T shows the API key", verb, x)
			}
		}
	}
	wrong := options(s, func(o *cachekitio.Options) { o.APIKey = apiKey(t, "ck_sdk_canary") })
	_, err := cachekitio.Open(t.Context(), wrong)
	if kindOf(err) != backends.Auth || strings.Contains(err.Error(), "canary") {
		t.Errorf("Open with a wrong key = %v, want Auth without the key", err)
	}
}
