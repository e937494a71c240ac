package redisbackend_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/backendtest"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// appUser is an ACL user with no more rights than the backend needs, on the keys
// one namespace and of the conformance suite.
const appUser = "user app on >" + password + " resetkeys ~app:* %s +get +set +mget +unlink +del +exists +pttl +pexpire +persist +scan +eval +evalsha +script|load +ping +hello +auth +client|setname +client|tracking +select"

// Rule: the whole suite passes for an ACL user over TLS in RESP3.
func TestConformanceTLSUserRESP3(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := testenv.Redis(t, &testenv.RedisOptions{TLS: true, Config: []string{fmt.Sprintf(appUser, "~*")}})
	client := func(addr string) *redis.Client {
		opts := usable(addr)
		opts.TLSConfig, opts.Protocol, opts.DialerRetries = s.TLSConfig(), 3, 1
		opts.Username, opts.Password = "app", password
		return redis.NewClient(opts)
	}
	backendtest.Run(t, backendtest.Harness{Want: capabilities, Open: func(tb testing.TB) backendtest.Subject {
		s.Do("FLUSHALL")
		p := testenv.Proxy(tb, s.TLSAddr())
		n := network{s.TLSAddr(): p}
		b := over(tb, client(p.Addr()))
		if _, err := b.Exists(tb.Context(), "k"); err != nil {
			tb.Fatal(err)
		}
		if list := fmt.Sprint(s.Do("CLIENT", "LIST")); !strings.Contains(list, "user=app") || !strings.Contains(list, "resp=3") {
			tb.Fatalf("no client of user app speaks RESP3: %s", list)
		}
		return n.subject(b, func(tb testing.TB) backends.Backend { return over(tb, client(s.TLSAddr())) }, s)
	}})
}

// Rule: a user who may touch some keys only has a working backend on these, and
// an Auth error without the key on others. What INFO would tell is left out of
// Health.
func TestUserWithFewRights(t *testing.T) {
	s := testenv.Redis(t, &testenv.RedisOptions{Config: []string{fmt.Sprintf(appUser, "")}})
	user := strings.ReplaceAll(strings.ReplaceAll(password, ":", "%3A"), "/", "%2F")
	for name, url := range map[string]string{
		"TCP":         "redis://app:" + strings.ReplaceAll(user, "@", "%40") + "@" + s.Addr(),
		"Unix socket": "unix://app:" + strings.ReplaceAll(user, "@", "%40") + "@" + s.Socket(),
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, url, nil)
			set(t, b, "app:k", "v")
			want(t, b, "app:k", "v")
			token, err := b.Lock(t.Context(), "app:k", time.Minute)
			if err != nil {
				t.Fatalf("Lock: %v", err)
			}
			if ok, err := b.Unlock(t.Context(), "app:k", token); !ok || err != nil {
				t.Errorf("Unlock = %t, %v", ok, err)
			}
			many := b.LockMany(t.Context(), []string{"app:k", "foreign-secret"}, time.Minute)
			refused(t, "LockMany", many[1].Err)
			if many[0].Err != nil {
				t.Errorf("LockMany = %v", many[0].Err)
			}
			gone := b.UnlockMany(t.Context(), []backends.HeldLock{{Key: "foreign-secret"}, {Key: "app:k", Token: many[0].Token}})
			refused(t, "UnlockMany", gone[0].Err)
			if !gone[1].Released || gone[1].Err != nil {
				t.Errorf("UnlockMany = %+v", gone[1])
			}
			if ok, err := b.Swap(t.Context(), "app:k", []byte("v"), []byte("w")); !ok || err != nil {
				t.Errorf("Swap = %t, %v", ok, err)
			}
			if h := b.Health(t.Context()); !h.OK || h.Details["version"] != "" {
				t.Errorf("Health = %+v, want OK without what INFO tells", h)
			}
			_, err = b.Get(t.Context(), "foreign-secret")
			refused(t, "Get", err)
			refused(t, "Set", b.Set(t.Context(), "foreign-secret", nil, time.Minute))
			refused(t, "GetMany", b.GetMany(t.Context(), []string{"foreign-secret"})[0].Err)
		})
	}
}

func refused(t *testing.T, op string, err error) {
	t.Helper()
	var e *backends.Error
	var answer *redisbackend.ServerError
	if !errors.As(err, &e) || e.Kind != backends.Auth || !errors.As(err, &answer) || answer.Code != "NOPERM" || strings.Contains(err.Error(), "foreign-secret") {
		t.Errorf("%s of a foreign key = %v, want an Auth error with NOPERM that does not name the key", op, err)
	}
}

// Rule: what is wrong between client and server in TLS is an error in time, and
// no connection falls back to plain text.
func TestTLSMismatch(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := testenv.Redis(t, &testenv.RedisOptions{TLS: true, Password: password})
	wrongName := s.TLSConfig()
	wrongName.ServerName = "cache.example"
	for name, opts := range map[string]*redis.Options{
		"wrong name":          {Addr: s.TLSAddr(), TLSConfig: wrongName},
		"unknown authority":   {Addr: s.TLSAddr(), TLSConfig: &tls.Config{ServerName: "127.0.0.1"}},
		"TLS to a plain port": {Addr: s.Addr(), TLSConfig: s.TLSConfig()},
		"plain to a TLS port": {Addr: s.TLSAddr()},
	} {
		t.Run(name, func(t *testing.T) {
			opts.Password, opts.ContextTimeoutEnabled, opts.MaxRetries, opts.DialerRetries = password, true, -1, 1
			b := newOver(t, redis.NewClient(opts))
			start := time.Now()
			_, err := b.Get(t.Context(), "k")
			if !backends.IsOutage(err) || strings.Contains(err.Error(), "staple") || time.Since(start) > 20*time.Second {
				t.Errorf("Get = %v after %v", err, time.Since(start))
			}
			if h := b.Health(t.Context()); h.OK || h.Latency <= 0 || h.BackendType != "redis" {
				t.Errorf("Health = %+v", h)
			}
		})
	}
}
