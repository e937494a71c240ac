package memcachedbackend

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

const (
	// Defaults of cachekit-py and cachekit-rs.
	defaultTimeout = time.Second
	defaultLimit   = 1 << 20
	// maxItemBytes is the largest item that memcached can be configured to hold
	// (-I).
	maxItemBytes = 1 << 30
	defaultIdle  = 64
)

// Options adjusts a Backend; nil or zero values are the defaults.
type Options struct {
	// Timeout bounds each call besides its context: connecting, sending and
	// receiving. Default 1 s.
	Timeout time.Duration

	// MaxValueBytes is the largest value that a call stores or reads, up to 1
	// GiB. A larger one is an error of kind TooLarge, on a read by its length,
	// before memory is allocated for it. Default 1 MiB, which is the servers'
	// own limit unless they run with -I; a server counts the key and some 60
	// bytes in, so it is the one that refuses values just below.
	MaxValueBytes int

	// MaxIdleConns is how many unused connections are kept for each server;
	// calls that run at once use as many as they need. Default 64.
	MaxIdleConns int

	// TLS, if not nil, is how servers are spoken to (memcached -Z). A
	// configuration without ServerName verifies the host of each server's
	// address. It is copied.
	TLS *tls.Config

	// DialContext opens the connections, below TLS. It must honour its context.
	// Default: a net.Dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// ClassicProtocol does without the meta commands, for servers older than
	// memcached 1.6 and proxies that do not know them. The backend then offers no
	// EntryReader, TTLer and Swapper, and Exists transfers the value.
	ClassicProtocol bool
}

func (o *Options) validate() (Options, error) {
	var v Options
	if o != nil {
		v = *o
	}
	switch {
	case v.Timeout < 0:
		return v, &ConfigError{"Options.Timeout is negative"}
	case v.MaxValueBytes < 0 || v.MaxValueBytes > maxItemBytes:
		return v, &ConfigError{"Options.MaxValueBytes must be 0 to 1 GiB"}
	case v.MaxIdleConns < 0:
		return v, &ConfigError{"Options.MaxIdleConns is negative"}
	}
	if v.Timeout == 0 {
		v.Timeout = defaultTimeout
	}
	if v.MaxValueBytes == 0 {
		v.MaxValueBytes = defaultLimit
	}
	if v.MaxIdleConns == 0 {
		v.MaxIdleConns = defaultIdle
	}
	if v.TLS != nil {
		v.TLS = v.TLS.Clone()
		v.TLS.DynamicRecordSizingDisabled = true // see groupBytes
	}
	if v.DialContext == nil {
		v.DialContext = new(net.Dialer).DialContext
	}
	return v, nil
}
