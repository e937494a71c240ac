package claims_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"go.uber.org/goleak"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
	"github.com/cachekit-io/cachekit-go/backends/dynamodbbackend"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
	"github.com/cachekit-io/cachekit-go/backends/httpbackend"
	"github.com/cachekit-io/cachekit-go/backends/memcachedbackend"
	"github.com/cachekit-io/cachekit-go/backends/memorybackend"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

// place is a storage that can be opened again and again, and stalled.
type place struct {
	open func(ctx context.Context) (backends.Backend, error)
	wire *testenv.FaultProxy // nil if there is no network
}

func places(t *testing.T) map[string]place {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "cache")
	server := testenv.Redis(t, nil)
	red, mem := testenv.Proxy(t, server.Addr()), testenv.Proxy(t, testenv.Memcached(t, nil).Addr())
	web, dyn := testenv.Proxy(t, testenv.Nginx(t, nil).Addr()), testenv.Proxy(t, testenv.DynamoDB(t).Addr())
	first := sync.OnceValue(func() error { return dynamodbbackend.EnsureTable(t.Context(), dynamoOver(dyn.Addr()), "leaks", nil) })
	return map[string]place{
		"memory": {func(context.Context) (backends.Backend, error) { return memorybackend.New(nil), nil }, nil},
		"file":   {func(context.Context) (backends.Backend, error) { return filebackend.Open(dir, nil) }, nil},
		"redis": {func(ctx context.Context) (backends.Backend, error) {
			return redisbackend.Open(ctx, server.URLAt(red.Addr()), nil)
		}, red},
		"memcached": {func(ctx context.Context) (backends.Backend, error) {
			return memcachedbackend.Open(ctx, mem.Addr(), nil)
		}, mem},
		"http": {func(ctx context.Context) (backends.Backend, error) {
			return httpbackend.Open(ctx, "http://"+web.Addr()+"/{key}", &httpbackend.Options{PlainHTTP: true, PrivateNetwork: true})
		}, web},
		"dynamodb": {func(context.Context) (backends.Backend, error) {
			if err := first(); err != nil {
				return nil, err
			}
			return dynamodbbackend.New(dynamoOver(dyn.Addr()), "leaks", nil)
		}, dyn},
	}
}

// dynamoOver keeps no connections: they are the client's, which nobody closes.
func dynamoOver(addr string) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region: "eu-central-1", BaseEndpoint: new("http://" + addr), Credentials: credentials.NewStaticCredentialsProvider("AKIDLOCAL", "local", ""),
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: new(net.Dialer).DialContext, DisableKeepAlives: true}}, RetryMaxAttempts: 1,
	})
}

// Rule: whatever was done with a cache, by many, and whatever became of its
// storage, when Close of both has returned no goroutine of theirs is left.
func TestNothingIsLeftAfterClose(t *testing.T) {
	for name, p := range places(t) {
		for profile, build := range profiles {
			for _, stalled := range []bool{false, true} {
				if stalled && p.wire == nil {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/stalled=%t", name, profile, stalled), func(t *testing.T) {
					before := goleak.IgnoreCurrent()
					b, err := p.open(t.Context())
					check(t, err)
					o := secure.Options{Backend: b, MasterKey: masterKey(t), Namespace: "n", TTL: 2 * time.Second, Logger: quietLog}
					if backends.CapabilitiesOf(b).Watcher != nil && profile != "minimal" {
						o.Coherence = secure.On
					}
					c, err := build(t.Context(), &o)
					check(t, err)
					useHard(c)
					if stalled {
						p.wire.Stall()
						defer p.wire.Resume()
						useHard(c)
					}
					check(t, c.Close())
					check(t, b.Close())
					left(t, before)
				})
			}
		}
	}
	t.Run("cachekitio", func(t *testing.T) {
		server, err := iotest.Start(nil)
		check(t, err)
		defer server.Close()
		before := goleak.IgnoreCurrent()
		c, err := secure.NewIO(t.Context(), &secure.Options{CachekitIO: server.Options(), MasterKey: masterKey(t), Namespace: "n", Logger: quietLog})
		check(t, err)
		useHard(c)
		check(t, c.Close())
		left(t, before)
	})
}

// left waits a little for goroutines that are ending.
func left(t *testing.T, options ...goleak.Option) {
	t.Helper()
	options = append(options,
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"),
		goleak.IgnoreAnyFunction("github.com/cachekit-io/cachekit-go/internal/testenv.(*FaultProxy).serve"),
		goleak.IgnoreAnyFunction("github.com/cachekit-io/cachekit-go/internal/testenv.(*FaultProxy).pump"))
	if err := goleak.Find(options...); err != nil {
		t.Error(err)
	}
}

// useHard has 32 callers make all kinds of calls, whose errors do not matter,
// with loaders that fail, panic and outlive their callers.
func useHard(c *secure.Cache) {
	v := secure.For[string](c)
	var callers sync.WaitGroup
	for i := range 32 {
		callers.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(50+10*i)*time.Millisecond)
			defer cancel()
			key := fmt.Sprint("k", i%8)
			_ = v.Set(ctx, key, "v")
			_, _, _ = v.Get(ctx, key)
			for n := range 4 {
				_, _ = v.GetOrLoad(ctx, fmt.Sprint("load", n), func(ctx context.Context) (string, error) {
					switch n {
					case 0:
						panic("a loader that panics")
					case 1:
						<-ctx.Done() // until Close
						return "", ctx.Err()
					}
					return "v", nil
				})
			}
			_ = v.SetMany(ctx, map[string]string{"a": "v", "b": "v"})
			_, _ = v.GetOrLoadMany(ctx, []string{"a", "c"}, func(context.Context, []string) (map[string]string, error) { return nil, nil })
			_, _ = v.Delete(ctx, key)
		})
	}
	callers.Wait()
}

var quietLog = slog.New(slog.DiscardHandler)
