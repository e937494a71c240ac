package redisbackend_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
)

// bombs are answers that claim more than there is, or than memory holds.
var bombs = map[string]string{
	"a string of all memory":        "$9223372036854775807\r\n",
	"a string of 1 TiB":             "$1099511627776\r\n",
	"a string over the limit":       "$1048577\r\n",
	"a verbatim string":             "=1099511627776\r\n",
	"an error of 1 TiB":             "!1099511627776\r\n",
	"an array of all memory":        "*9223372036854775807\r\n",
	"an array of 10^9":              "*1000000000\r\n",
	"arrays of arrays of 10^6":      strings.Repeat("*1000000\r\n", 20),
	"a map":                         "%1000000000\r\n",
	"a set":                         "~1000000000\r\n",
	"a push":                        ">1000000000\r\n",
	"an attribute":                  "|1000000000\r\n",
	"nested arrays":                 strings.Repeat("*1\r\n", 1<<20),
	"nested maps":                   strings.Repeat("%1\r\n+k\r\n", 1<<19),
	"nested pushes":                 strings.Repeat(">1\r\n", 1<<20),
	"a line without an end":         "+" + strings.Repeat("x", 4<<20),
	"an error line without an end":  "-ERR " + strings.Repeat("x", 4<<20),
	"a number that is none":         "$1x\r\n",
	"a negative length":             "$-2\r\n",
	"a length that is not complete": "$",
}

// lyingIn returns a backend whose server answers everything with answer: the
// handshake if the client asks for protocol 3, else the command.
func lyingIn(t testing.TB, protocol int, answer []byte) *redisbackend.Backend {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:1", Protocol: protocol, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1, ReadTimeout: time.Second, WriteTimeout: time.Second,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				defer far.Close()
				buf := make([]byte, 64<<10)
				n, _ := far.Read(buf)
				for protocol == 2 && (bytes.Contains(buf[:n], []byte("hello\r\n")) || bytes.Contains(buf[:n], []byte("client\r\n"))) {
					_, _ = far.Write(bytes.Repeat([]byte("-ERR no\r\n"), bytes.Count(buf[:n], []byte("\r\n*"))+1))
					n, _ = far.Read(buf)
				}
				_, _ = far.Write(answer)
			}()
			return near, nil
		},
	})
	t.Cleanup(func() { _ = client.Close() })
	b, err := redisbackend.New(client, &redisbackend.Options{MaxValueBytes: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var everything = map[string]func(context.Context, *redisbackend.Backend) error{
	"Get":      func(ctx context.Context, b *redisbackend.Backend) error { _, err := b.Get(ctx, "k"); return err },
	"GetEntry": func(ctx context.Context, b *redisbackend.Backend) error { _, err := b.GetEntry(ctx, "k"); return err },
	"GetMany": func(ctx context.Context, b *redisbackend.Backend) error {
		r := b.GetMany(ctx, []string{"k", "l"})
		return errors.Join(r[0].Err, r[1].Err)
	},
	"Set":    func(ctx context.Context, b *redisbackend.Backend) error { return b.Set(ctx, "k", nil, time.Minute) },
	"Delete": func(ctx context.Context, b *redisbackend.Backend) error { _, err := b.Delete(ctx, "k"); return err },
	"Exists": func(ctx context.Context, b *redisbackend.Backend) error { _, err := b.Exists(ctx, "k"); return err },
	"TTL":    func(ctx context.Context, b *redisbackend.Backend) error { _, err := b.TTL(ctx, "k"); return err },
	"Touch": func(ctx context.Context, b *redisbackend.Backend) error {
		_, err := b.Touch(ctx, "k", time.Minute)
		return err
	},
	"Swap": func(ctx context.Context, b *redisbackend.Backend) error {
		_, err := b.Swap(ctx, "k", nil, nil)
		return err
	},
	"SwapMany": func(ctx context.Context, b *redisbackend.Backend) error {
		return b.SwapMany(ctx, []backends.SwapItem{{Key: "k"}})[0].Err
	},
	"RewriteMany": func(ctx context.Context, b *redisbackend.Backend) error {
		return b.RewriteMany(ctx, []string{"k"}, keepValue, nil)[0].Err
	},
	"Lock": func(ctx context.Context, b *redisbackend.Backend) error {
		_, err := b.Lock(ctx, "k", time.Minute)
		return err
	},
	"Unlock": func(ctx context.Context, b *redisbackend.Backend) error {
		_, err := b.Unlock(ctx, "k", "t")
		return err
	},
	"LockMany": func(ctx context.Context, b *redisbackend.Backend) error {
		return b.LockMany(ctx, []string{"k"}, time.Minute)[0].Err
	},
	"UnlockMany": func(ctx context.Context, b *redisbackend.Backend) error {
		return b.UnlockMany(ctx, []backends.HeldLock{{Key: "k", Token: "t"}})[0].Err
	},
	"Scan": func(ctx context.Context, b *redisbackend.Backend) error {
		_, _, err := b.Scan(ctx, "", "", 0)
		return err
	},
	"Health": func(ctx context.Context, b *redisbackend.Backend) error { return b.Health(ctx).Err },
}

// Rule: whatever a server claims, in the handshake or in the reply to any
// command, ends in an error: nothing panics, no stack overflows, and little is
// allocated.
func TestHostileServers(t *testing.T) {
	for name, answer := range bombs {
		for op, call := range everything {
			for _, protocol := range []int{2, 3} {
				survives(t, op+" answered with "+name, lyingIn(t, protocol, []byte(answer)), call)
			}
		}
	}
}

func survives(t *testing.T, what string, b *redisbackend.Backend, call func(context.Context, *redisbackend.Backend) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := call(ctx, b)
	runtime.ReadMemStats(&after)
	if err == nil || errors.Is(err, backends.ErrNotFound) {
		t.Errorf("%s = %v", what, err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
		t.Errorf("%s: %d MiB are allocated", what, n>>20)
	}
}

// Rule: replies are followed to the same end however they are cut into pieces,
// and replies within the bounds pass.
func FuzzFrames(f *testing.F) {
	for _, seed := range []string{
		"+OK\r\n", ":1\r\n", "$3\r\nabc\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n", "*2\r\n$1\r\na\r\n:3\r\n", "*1\r\n*1\r\n*1\r\n+x\r\n", "_\r\n", "#t\r\n",
		",1.5\r\n", "(123\r\n", "=7\r\ntxt:abc\r\n", "!5\r\nERR x\r\n", "%1\r\n+k\r\n+v\r\n", "~1\r\n+m\r\n", ">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n", "|1\r\n+a\r\n+b\r\n+c\r\n", "$?\r\n",
	} {
		f.Add([]byte(seed), uint8(0))
		f.Add([]byte(seed), uint8(2))
	}
	for _, bomb := range bombs {
		f.Add([]byte(bomb[:min(len(bomb), 256)]), uint8(6))
	}
	f.Fuzz(func(t *testing.T, text []byte, size uint8) {
		open, whole := redisbackend.Frames(text)
		var chunks [][]byte
		for rest := text; len(rest) > 0; {
			n := min(int(size)+1, len(rest))
			chunks = append(chunks, rest[:n])
			rest = rest[n:]
		}
		openToo, pieces := redisbackend.Frames(chunks...)
		if (whole == nil) != (pieces == nil) || whole == nil && open != openToo {
			t.Errorf("%q: %v and %v, open %d and %d", text, whole, pieces, open, openToo)
		}
		if open < 0 || open > 1<<20 {
			t.Errorf("%q: %d elements are outstanding", text, open)
		}
	})
}

// What follows a whole reply is the next one: bytes of a value that look like a
// reply are none.
func TestFramesSkipValues(t *testing.T) {
	value := "*9223372036854775807\r\n$99999999999\r\n"
	reply := []byte("*2\r\n$" + "37" + "\r\n" + value + "\r\n+OK\r\n$3\r\nabc\r\n")
	if len(value) != 36 {
		t.Fatalf("the value has %d bytes", len(value))
	}
	for n := range reply {
		if open, err := redisbackend.Frames(reply[:n], reply[n:]); err != nil || open != 0 {
			t.Errorf("cut at %d: %v, %d elements are outstanding", n, err, open)
		}
	}
	if _, err := redisbackend.Frames(bytes.Repeat([]byte("+OK\r\n"), 1000), []byte("$1048577\r\n")); err == nil {
		t.Error("a bound is forgotten after some replies")
	}
}
