package redisbackend

import (
	"context"
	"net"

	"github.com/redis/go-redis/v9"
)

// dial does not wait for a dialler that ignores its context.
func dial(ctx context.Context, opts *redis.Options) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	limit := opts.DialTimeout
	if limit <= 0 {
		limit = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan result, 1)
	go func() {
		c, err := opts.Dialer(ctx, opts.Network, opts.Addr)
		done <- result{c, err}
	}()
	select {
	case r := <-done:
		return r.conn, r.err
	case <-ctx.Done():
	}
	go func() {
		if r := <-done; r.err == nil {
			_ = r.conn.Close()
		}
	}()
	return nil, ctx.Err()
}

// hello returns the command that switches to RESP3 and authenticates.
func hello(ctx context.Context, opts *redis.Options) ([]string, error) {
	user, password := opts.Username, opts.Password
	if f := opts.CredentialsProviderContext; f != nil {
		var err error
		if user, password, err = f(ctx); err != nil {
			return nil, err
		}
	} else if f := opts.CredentialsProvider; f != nil {
		user, password = f()
	}
	args := []string{"hello", "3"}
	if password != "" {
		if user == "" {
			user = "default"
		}
		args = append(args, "auth", user, password)
	}
	return args, nil
}
