package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
	"github.com/cachekit-io/cachekit-go/backends/dynamodbbackend"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
	"github.com/cachekit-io/cachekit-go/backends/httpbackend"
	"github.com/cachekit-io/cachekit-go/backends/memcachedbackend"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/guard"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// ioLimit is the backends' own time limit in the matrix; contexts are longer
// than it with retries, or much shorter.
const ioLimit = 200 * time.Millisecond

type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// rig is a storage and what can be done to it.
type rig struct {
	// open returns a new backend, through the proxy if there is one. dial, if
	// given, opens its connections.
	open func(ctx context.Context, dial dialer) (backends.Backend, error)
	// direct is another process's, which no proxy troubles.
	direct func(ctx context.Context) (backends.Backend, error)
	proxy  *testenv.FaultProxy
	server server
	// loses says that a restart loses the entries.
	loses bool
	io    *iotest.Server
	// setClock moves the wall clock of the server, if it can.
	setClock func(time.Duration)
	// env tells a child how to open the same storage, if it can.
	env []string
}

// rigs build a storage for a cell; alone gives it a server of its own.
type rigs struct {
	redis     *testenv.RedisServer
	memcached *testenv.MemcachedServer
	nginx     *testenv.NginxServer
	dynamo    *testenv.DynamoServer
	transport *http.Transport
	tables    atomic.Int64
}

// matrixBackends are the columns' storages, in the order of the page.
var matrixBackends = []string{"redis", "memcached", "file", "cachekitio", "http", "dynamodb"}

// newRigs starts the shared servers; dynamodb takes seconds to start.
func newRigs(t *testing.T) *rigs {
	r := &rigs{redis: testenv.Redis(t, nil), memcached: testenv.Memcached(t, nil), nginx: testenv.Nginx(t, nil), dynamo: testenv.DynamoDB(t)}
	r.transport = &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(r.transport.CloseIdleConnections)
	return r
}

func (r *rigs) build(t *testing.T, backend string, alone bool) *rig {
	switch backend {
	case "redis":
		s := r.redis
		if alone {
			s = testenv.Redis(t, nil)
		}
		return redisRig(s, quietProxy(t, s.Addr()))
	case "memcached":
		s := r.memcached
		if alone {
			s = testenv.Memcached(t, nil)
		}
		return memcachedRig(s, quietProxy(t, s.Addr()))
	case "http":
		s := r.nginx
		if alone {
			s = testenv.Nginx(t, nil)
		}
		return httpRig(s, quietProxy(t, s.Addr()))
	case "cachekitio":
		return ioRig(t)
	case "dynamodb":
		return r.dynamoRig(t)
	}
	return fileRig(t.TempDir())
}

func quietProxy(t *testing.T, addr string) *testenv.FaultProxy {
	p := testenv.Proxy(t, addr)
	p.Forget()
	return p
}

// redisRig passes a dialer by a client of its own, because Open takes none.
func redisRig(s *testenv.RedisServer, p *testenv.FaultProxy) *rig {
	open := func(ctx context.Context, addr string) (backends.Backend, error) {
		return redisbackend.Open(ctx, s.URLAt(addr), &redisbackend.Options{Timeout: ioLimit})
	}
	return &rig{
		open: func(ctx context.Context, dial dialer) (backends.Backend, error) {
			if dial == nil {
				return open(ctx, p.Addr())
			}
			return ownRedis(p.Addr(), dial)
		},
		direct: func(ctx context.Context) (backends.Backend, error) { return open(ctx, s.Addr()) },
		proxy:  p, server: s, loses: true, env: []string{storageEnv + "=redis " + s.URL()},
		setClock: func(d time.Duration) { s.Process().MoveClock(d) },
	}
}

// sentinelRig has no proxy: the sentinels name the servers.
func sentinelRig(t *testing.T) *rig {
	s := testenv.RedisSentinel(t)
	a := s.Addrs()
	url := fmt.Sprintf("redis://%s?master_name=%s&addr=%s&addr=%s", a[0], s.Name, a[1], a[2])
	open := func(ctx context.Context) (backends.Backend, error) {
		return redisbackend.Open(ctx, url, &redisbackend.Options{Timeout: ioLimit})
	}
	return &rig{
		open:   func(ctx context.Context, _ dialer) (backends.Backend, error) { return open(ctx) },
		direct: open, server: s.Master(), loses: true,
	}
}

// redisOverClient closes the client with the backend.
type redisOverClient struct {
	*redisbackend.Backend
	client *redis.Client
}

func (b redisOverClient) Close() error { return errors.Join(b.Backend.Close(), b.client.Close()) }

func ownRedis(addr string, dial dialer) (backends.Backend, error) {
	client := redis.NewClient(&redis.Options{
		Addr: addr, Dialer: dial, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1, Protocol: 2,
		DialTimeout: ioLimit, ReadTimeout: ioLimit, WriteTimeout: ioLimit, PoolTimeout: ioLimit,
	})
	b, err := redisbackend.New(client, &redisbackend.Options{Timeout: ioLimit})
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return redisOverClient{b, client}, nil
}

func memcachedRig(s *testenv.MemcachedServer, p *testenv.FaultProxy) *rig {
	open := func(ctx context.Context, addr string, dial dialer) (backends.Backend, error) {
		return memcachedbackend.Open(ctx, addr, &memcachedbackend.Options{Timeout: ioLimit, DialContext: dial})
	}
	return &rig{
		open:   func(ctx context.Context, dial dialer) (backends.Backend, error) { return open(ctx, p.Addr(), dial) },
		direct: func(ctx context.Context) (backends.Backend, error) { return open(ctx, s.Addr(), nil) },
		proxy:  p, server: s, loses: true, env: []string{storageEnv + "=memcached " + s.Addr()},
		setClock: func(d time.Duration) { s.Process().MoveClock(d) },
	}
}

func httpRig(s *testenv.NginxServer, p *testenv.FaultProxy) *rig {
	open := func(ctx context.Context, addr string, dial dialer) (backends.Backend, error) {
		return httpbackend.Open(ctx, "http://"+addr+"/{key}", &httpbackend.Options{
			PlainHTTP: true, PrivateNetwork: true, Timeout: ioLimit, DialContext: dial,
		})
	}
	return &rig{
		open:   func(ctx context.Context, dial dialer) (backends.Backend, error) { return open(ctx, p.Addr(), dial) },
		direct: func(ctx context.Context) (backends.Backend, error) { return open(ctx, s.Addr(), nil) },
		proxy:  p, server: s,
	}
}

func ioRig(t *testing.T) *rig {
	s, err := iotest.Start(&iotest.Options{Now: steadily()})
	if err != nil {
		t.Error(err)
		return nil
	}
	t.Cleanup(s.Close)
	p := quietProxy(t, s.Addr())
	through := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, p.Addr())
	}
	return &rig{
		open: func(ctx context.Context, dial dialer) (backends.Backend, error) {
			if dial == nil {
				dial = through
			}
			o := s.Options()
			o.Timeout = ioLimit
			o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := dial(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				return guard.Admit(c), nil
			}
			return cachekitio.Open(ctx, o)
		},
		direct: func(ctx context.Context) (backends.Backend, error) { return cachekitio.Open(ctx, s.Options()) },
		proxy:  p, io: s,
		setClock: s.Advance,
	}
}

// steadily is the clock of another machine than this process's, whose own may be
// moved.
func steadily() func() time.Time {
	start := time.Now()
	return func() time.Time { return start.Round(0).Add(time.Since(start)) }
}

func (r *rigs) dynamoRig(t *testing.T) *rig {
	p := quietProxy(t, r.dynamo.Addr())
	table := fmt.Sprint("faults-", r.tables.Add(1))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := dynamodbbackend.EnsureTable(ctx, dynamoClient(r.dynamo.Addr(), r.transport), table, nil); err != nil {
		t.Error(err)
		return nil
	}
	return &rig{
		open: func(_ context.Context, dial dialer) (backends.Backend, error) {
			transport := &http.Transport{MaxIdleConnsPerHost: 64, DialContext: dial}
			b, err := dynamodbbackend.New(dynamoClient(p.Addr(), transport), table, &dynamodbbackend.Options{Timeout: ioLimit})
			if err != nil {
				return nil, err
			}
			return dynamoOverClient{b, transport}, nil
		},
		direct: func(context.Context) (backends.Backend, error) {
			return dynamodbbackend.New(dynamoClient(r.dynamo.Addr(), r.transport), table, nil)
		},
		proxy: p,
	}
}

// dynamoOverClient closes the client's connections with the backend.
type dynamoOverClient struct {
	*dynamodbbackend.Backend
	transport *http.Transport
}

func (b dynamoOverClient) Close() error {
	defer b.transport.CloseIdleConnections()
	return b.Backend.Close()
}

func dynamoClient(addr string, transport *http.Transport) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region: "eu-central-1", BaseEndpoint: aws.String("http://" + addr), HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
	})
}

func fileRig(dir string) *rig {
	dir += "/entries" // which has to be the user's alone
	open := func(context.Context) (backends.Backend, error) { return filebackend.Open(dir, nil) }
	return &rig{
		open:   func(ctx context.Context, _ dialer) (backends.Backend, error) { return open(ctx) },
		direct: open, env: []string{storageEnv + "=file " + dir},
	}
}
