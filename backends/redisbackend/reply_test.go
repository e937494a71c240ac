package redisbackend_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
)

// hostile returns a backend over a server that refuses every command but GET
// and MGET, which it answers with the given bytes before it hangs up.
func hostile(t testing.TB, answer []byte) *redisbackend.Backend {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:1", Protocol: 2, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go answerHostile(far, answer)
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

func answerHostile(conn net.Conn, answer []byte) {
	defer conn.Close()
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if bytes.Contains(buf[:n], []byte("get\r\n")) {
			_, _ = conn.Write(answer)
			return
		}
		commands := bytes.Count(buf[:n], []byte("\r\n*")) + 1
		if _, err := conn.Write(bytes.Repeat([]byte("-ERR no\r\n"), commands)); err != nil {
			return
		}
	}
}

// Rule: what a server claims is bounded before memory is allocated for it, and
// malformed replies are errors.
func TestForgedReplies(t *testing.T) {
	for _, c := range []struct {
		answer string
		kind   backends.Kind
	}{
		{"$9223372036854775807\r\n", backends.TooLarge},
		{"$9223372036854775805\r\nx", backends.TooLarge},
		{"$1025\r\n", backends.TooLarge},
		{"$-2\r\n", backends.Transient},
		{"$5\r\nab", backends.Transient},
		{"$2\r\nabXX", backends.Transient},
		{"*1000000000\r\n", backends.Transient},
		{"*1\r\n$1\r\na\r\n", backends.Transient},
		{":1\r\n", backends.Transient},
		{"+OK\r\n", backends.Transient},
		{"\r\n", backends.Transient},
		{"%1\r\n", backends.Transient},
		{"-ERR canary\r\n", backends.Permanent},
		{"-\r\n", backends.Permanent},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := hostile(t, []byte(c.answer)).Get(ctx, "k")
		var failed *backends.Error
		if !errors.As(err, &failed) || failed.Kind != c.kind || bytes.Contains([]byte(err.Error()), []byte("canary")) {
			t.Errorf("Get answered %q = %v, want %v", c.answer, err, c.kind)
		}
		r := hostile(t, []byte(c.answer)).GetMany(ctx, []string{"a", "b"})
		if r[0].Err == nil || r[1].Err == nil {
			t.Errorf("GetMany answered %q = %v", c.answer, r)
		}
		cancel()
	}
}

func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		"$3\r\nabc\r\n", "$-1\r\n", "$0\r\n\r\n", "*2\r\n$1\r\na\r\n$-1\r\n", "*2\r\n*1\r\n$1\r\na\r\n$1\r\nb\r\n",
		"-ERR x\r\n", "_\r\n", "$1024\r\n", "=7\r\ntxt:abc\r\n", "(123\r\n", "*-1\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if v, err := hostile(t, answer).Get(ctx, "k"); err == nil && !bytes.Contains(answer, v) {
			t.Errorf("value %q is not part of the answer %q", v, answer)
		}
		for _, r := range hostile(t, answer).GetMany(ctx, []string{"a", "b"}) {
			if r.Err == nil && !bytes.Contains(answer, r.Entry.Value) {
				t.Errorf("value %q is not part of the answer %q", r.Entry.Value, answer)
			}
		}
	})
}
