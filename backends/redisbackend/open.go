package redisbackend

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// defaultTimeout is the command timeout of cachekit-py and cachekit-rs.
	defaultTimeout = 5 * time.Second
	defaultLimit   = 64 << 20
)

// Open connects to the Redis that rawURL names and makes one round trip to it,
// so that a wrong address or password shows here. The backend owns its
// connections; ctx bounds the construction alone.
//
//	redis://[user:password@]host:port[/db]        one server
//	rediss://...                                  the same over TLS
//	unix://[user:password@]/path/to/socket[?db=n] a Unix socket
//	redis://host:port?addr=host2:port2            a Cluster, by two or more nodes
//	redis://host:port?master_name=name            Sentinel; more by addr=host:port
//
// Other parameters are those of go-redis's ParseURL, ParseClusterURL and
// ParseFailoverURL; max_retries is refused, because retries are the caller's to
// make. An unusable URL is a [*URLError].
func Open(ctx context.Context, rawURL string, opts *Options) (*Backend, error) {
	o, err := opts.validate()
	if err != nil {
		return nil, err
	}
	w := &watch{bulk: o.MaxValueBytes}
	client, err := connect(rawURL, o, w)
	if err != nil {
		return nil, err
	}
	b, err := newBackend(client, o, w)
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	b.owned, b.directs = true, newDirects(b)
	if err := b.Health(ctx).Err; err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

// connect builds the client. Its settings follow from what package backends
// promises: contexts honoured, no command sent twice, RESP2 because nothing here
// listens to pushes and looking for them costs a system call per command.
func connect(rawURL string, o Options, w *watch) (redis.UniversalClient, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, &URLError{"it cannot be parsed; escape special characters of user name and password with %XX"}
	}
	query := u.Query()
	switch {
	case u.Scheme != "redis" && u.Scheme != "rediss" && u.Scheme != "unix":
		return nil, &URLError{"its scheme is not redis, rediss or unix"}
	case query.Has("max_retries"):
		return nil, &URLError{"max_retries is not supported: wrap the backend in resilient for retries"}
	case query.Has("master_name"):
		return connectFailover(rawURL, o, w)
	case query.Has("addr"):
		return connectCluster(rawURL, o, w)
	}
	c, err := redis.ParseURL(rawURL)
	if err != nil {
		return nil, errParameters
	}
	c.ReadTimeout, c.WriteTimeout = timeouts(o.Timeout, c.ReadTimeout)
	c.PoolTimeout = c.ReadTimeout
	c.MaxRetries, c.DialerRetries = -1, 1
	c.ContextTimeoutEnabled = true
	c.Protocol = 2
	c.MaintNotificationsConfig = noNotifications()
	c.Dialer = w.dial(newDialer(c.DialTimeout, c.TLSConfig))
	return redis.NewClient(c), nil
}

var errParameters = &URLError{"a part of it or a query parameter is not what go-redis expects; see redis.ParseURL, ParseClusterURL and ParseFailoverURL"}

func connectCluster(rawURL string, o Options, w *watch) (redis.UniversalClient, error) {
	c, err := redis.ParseClusterURL(rawURL)
	if err != nil {
		return nil, errParameters
	}
	c.ReadTimeout, c.WriteTimeout = timeouts(o.Timeout, c.ReadTimeout)
	c.PoolTimeout = c.ReadTimeout
	c.DialerRetries = 1
	c.ContextTimeoutEnabled = true
	c.Protocol = 2
	c.MaintNotificationsConfig = noNotifications()
	c.Dialer = w.dial(newDialer(c.DialTimeout, c.TLSConfig))
	return redis.NewClusterClient(c), nil
}

func connectFailover(rawURL string, o Options, w *watch) (redis.UniversalClient, error) {
	c, err := redis.ParseFailoverURL(rawURL)
	if err != nil {
		return nil, errParameters
	}
	c.ReadTimeout, c.WriteTimeout = timeouts(o.Timeout, c.ReadTimeout)
	c.PoolTimeout = c.ReadTimeout
	c.MaxRetries, c.DialerRetries = -1, 1
	c.ContextTimeoutEnabled = true
	c.Protocol = 2
	c.Dialer = w.dial(newDialer(c.DialTimeout, c.TLSConfig))
	return redis.NewFailoverClient(c), nil
}

func noNotifications() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// timeouts prefers the option over the URL over the default.
func timeouts(option, fromURL time.Duration) (read, write time.Duration) {
	switch {
	case option > 0:
		return option, option
	case fromURL > 0:
		return fromURL, fromURL
	}
	return defaultTimeout, defaultTimeout
}

// newDialer is redis.NewDialer with a handshake that ends with its context: one
// that goes on for a caller who has left is a goroutine and a socket for seconds.
func newDialer(timeout time.Duration, config *tls.Config) dialer {
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	d := &net.Dialer{Timeout: timeout, KeepAliveConfig: keepAlive}
	if config == nil {
		return d.DialContext
	}
	return (&tls.Dialer{NetDialer: d, Config: config}).DialContext
}

// keepAlive is go-redis's.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3}

func (o *Options) validate() (Options, error) {
	var v Options
	if o != nil {
		v = *o
	}
	if v.MaxValueBytes == 0 {
		v.MaxValueBytes = defaultLimit
	}
	switch {
	case v.Timeout < 0:
		return v, &ClientError{"Options.Timeout is negative"}
	case v.MaxValueBytes < 0 || v.MaxValueBytes > maxStringBytes:
		return v, &ClientError{"Options.MaxValueBytes must be 0 to 512 MiB"}
	}
	return v, nil
}
