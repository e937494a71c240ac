package memcachedbackend

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// Health implements [backends.Backend] with one round trip to every server, at
// the same time. It is OK if all of them are. Details: the number of servers
// and, for each, by its place in the list, its version and latency, or what
// failed.
func (b *Backend) Health(ctx context.Context) backends.Health {
	start := time.Now()
	h := backends.Health{BackendType: backendType, Details: map[string]string{}}
	servers, err := b.all()
	if b.closed.Load() {
		err = backends.ErrClosed
	}
	if err == nil {
		err = b.ask(ctx, servers, h.Details)
	}
	h.Err = fail(ctx, "health", err)
	h.OK, h.Latency = h.Err == nil, time.Since(start)
	return h
}

// ask asks all servers for their version. The error is that of the first that
// failed.
func (b *Backend) ask(ctx context.Context, servers []*server, details map[string]string) error {
	versions, errs, took := make([]string, len(servers)), make([]error, len(servers)), make([]time.Duration, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		wg.Go(func() {
			start := time.Now()
			versions[i], _, errs[i] = run(ctx, b, s, func(se *session) (string, error) { return se.version(!b.opts.ClassicProtocol) })
			took[i] = time.Since(start)
		})
	}
	wg.Wait()
	details["servers"] = strconv.Itoa(len(servers))
	var first error
	for i := range servers {
		name := "server " + strconv.Itoa(i+1)
		if errs[i] == nil {
			details[name] = fmt.Sprintf("version %s, %v", versions[i], took[i].Round(time.Microsecond))
			continue
		}
		kind, cause := classify(errs[i])
		details[name] = kind.String() + " failure: " + cause.Error()
		if first == nil && len(servers) == 1 || first == nil && errors.Is(cause, backends.ErrClosed) {
			first = cause
		} else if first == nil {
			first = fmt.Errorf("server %d of %d: %w", i+1, len(servers), cause)
		}
	}
	return first
}

// version asks for the version and, by a meta no-op, whether the server knows
// meta commands.
func (se *session) version(meta bool) (string, error) {
	w := se.ask()
	_, _ = w.WriteString("version\r\n")
	if meta {
		_, _ = w.WriteString("mn\r\n")
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	version, err := se.versionAnswer(meta)
	se.answered(err)
	return version, err
}

func (se *session) versionAnswer(meta bool) (string, error) {
	text, err := se.readLine()
	if err != nil {
		return "", err
	}
	version, ok := printable(text, "VERSION ")
	if !ok {
		return "", errReply
	}
	if !meta {
		return version, nil
	}
	text, err = se.readLine()
	var refused *ServerError
	switch {
	case errors.As(err, &refused) && refused.Code == "ERROR":
		return "", errOldServer
	case err != nil:
		return "", err
	case string(text) != "MN":
		return "", errReply
	}
	return version, nil
}

// printable returns what follows prefix, if it is short and printable.
func printable(text []byte, prefix string) (string, bool) {
	if len(text) > 64 || len(text) <= len(prefix) || string(text[:len(prefix)]) != prefix {
		return "", false
	}
	for _, c := range text {
		if c < ' ' || c > '~' {
			return "", false
		}
	}
	return string(text[len(prefix):]), true
}
