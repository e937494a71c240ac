package redisbackend

import (
	"context"
	"net"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
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

// credentials reports whether a server has refused a user or a password.
func credentials(r refusal) bool {
	kind, _ := classifyAnswer(string(r))
	return kind == backends.Auth
}

func (p *direct) connect(ctx context.Context, now time.Time) (*wire, error) {
	ctx, cancel := context.WithDeadline(ctx, ending(ctx, now, p.b.timeout))
	defer cancel()
	nc, err := dial(ctx, p.opts)
	if err != nil {
		return nil, err
	}
	c := watched(nc)
	if c == nil {
		_ = nc.Close()
		return nil, errReply
	}
	c.bounded = true
	x := newWire(c, now)
	err = x.begin(ctx, time.Now(), p.b.timeout)
	if err == nil {
		err = p.greet(ctx, x)
	}
	if err != nil {
		x.close(true)
		return nil, err
	}
	return x, nil
}

// greet authenticates, and chooses name and database.
func (p *direct) greet(ctx context.Context, x *wire) error {
	args, err := hello(ctx, p.opts)
	if err != nil {
		return err
	}
	commands := [][]string{args}
	if name := p.opts.ClientName; name != "" {
		commands = append(commands, []string{"client", "setname", name})
	}
	if db := p.opts.DB; db != 0 {
		commands = append(commands, []string{"select", strconv.Itoa(db)})
	}
	for _, args := range commands {
		x.out = append(x.out, command(args)...)
	}
	if err := x.send(); err != nil {
		return err
	}
	for i := range commands {
		kind, n, line, err := x.header()
		switch {
		case err != nil:
			return err
		case kind == '-':
			return refusal(line)
		case i == 0 && kind == '%':
			err = x.skipAll(2*n, 1)
		case i == 0 || kind != '+':
			err = errReply
		}
		if err != nil {
			return err
		}
	}
	return nil
}
