package memcachedbackend_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/memcachedbackend"
)

// hangUp in an answer closes the connection there.
const hangUp = "<hang up>"

// liar serves connections with answers of the test's choice, one for each line
// that it is sent, and returns its address and the lines so far. It answers
// version well, and mn unless told what to answer.
func liar(t *testing.T, answer func(line string) string, meta ...string) (addr string, lines func() []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var seen []string
	var open []net.Conn
	var wg sync.WaitGroup
	serve := func(c net.Conn) {
		defer c.Close()
		for r := bufio.NewReader(c); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			line = strings.TrimSuffix(line, "\r\n")
			mu.Lock()
			seen = append(seen, line)
			mu.Unlock()
			text := map[string]string{"version": "VERSION 1.6.0\r\n", "mn": append(meta, "MN\r\n")[0]}[line]
			if text == "" {
				text = answer(line)
			}
			text, bye := strings.CutSuffix(text, hangUp)
			if _, err := c.Write([]byte(text)); err != nil || bye {
				return
			}
		}
	}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			wg.Go(func() { serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String(), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), seen...)
	}
}

const secret = "sesame"

// operations reads or writes the entry of key.
var operations = map[string]func(context.Context, *memcachedbackend.Backend, string) error{
	"Get": func(ctx context.Context, b *memcachedbackend.Backend, k string) error {
		_, err := b.Get(ctx, k)
		return err
	},
	"GetEntry": func(ctx context.Context, b *memcachedbackend.Backend, k string) error {
		_, err := b.GetEntry(ctx, k)
		return err
	},
	"GetMany": func(ctx context.Context, b *memcachedbackend.Backend, k string) error {
		return b.GetMany(ctx, []string{k, "second"})[0].Err
	},
	"TTL": func(ctx context.Context, b *memcachedbackend.Backend, k string) error {
		_, err := b.TTL(ctx, k)
		return err
	},
	"Exists": func(ctx context.Context, b *memcachedbackend.Backend, k string) error {
		_, err := b.Exists(ctx, k)
		return err
	},
	"Touch": func(ctx context.Context, b *memcachedbackend.Backend, k string) error {
		_, err := b.Touch(ctx, k, time.Hour)
		return err
	},
	"Set": func(ctx context.Context, b *memcachedbackend.Backend, k string) error {
		return b.Set(ctx, k, []byte(secret), time.Hour)
	},
	"SetMany": func(ctx context.Context, b *memcachedbackend.Backend, k string) error {
		return b.SetMany(ctx, []backends.Item{{Key: k, Value: []byte(secret), TTL: time.Hour}})[0]
	},
	"Delete": func(ctx context.Context, b *memcachedbackend.Backend, k string) error {
		_, err := b.Delete(ctx, k)
		return err
	},
	"DeleteMany": func(ctx context.Context, b *memcachedbackend.Backend, k string) error {
		return b.DeleteMany(ctx, []string{k})[0].Err
	},
	"Lock": func(ctx context.Context, b *memcachedbackend.Backend, k string) error {
		_, err := b.Lock(ctx, k, time.Hour)
		return err
	},
	"Unlock": func(ctx context.Context, b *memcachedbackend.Backend, k string) error {
		_, err := b.Unlock(ctx, k, "token")
		return err
	},
	"Swap": func(ctx context.Context, b *memcachedbackend.Backend, k string) error {
		_, err := b.Swap(ctx, k, []byte(secret), []byte("new"))
		return err
	},
}

// Rule: whatever a server answers, the call ends in an error of the right kind
// that repeats neither the key nor the answer, and takes little memory.
func TestLyingServer(t *testing.T) {
	long := strings.Repeat("x", 64<<10)
	for _, tc := range []struct {
		name, answer string
		kind         backends.Kind
		only         string // operations that the answer is a lie for; "" for all
	}{
		{"garbage", secret + " garbage\r\n", backends.Transient, ""},
		{"no line end", secret + long, backends.Transient, ""},
		{"an empty line", "\r\n", backends.Transient, ""},
		{"HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n" + secret, backends.Transient, ""},
		{"a bare line feed", "END\n", backends.Transient, ""},
		{"a truncated line", "VAL" + hangUp, backends.Transient, ""},
		{"a truncated value", "VALUE sesame 0 100 1\r\nabc" + hangUp, backends.Transient, "Get GetMany"},
		{"a truncated meta value", "VA 100 ksesame t5\r\nabc" + hangUp, backends.Transient, "GetEntry"},
		{"no end", "VALUE sesame 0 1 1\r\na\r\n" + hangUp, backends.Transient, "Get"},
		{"a huge length", "VALUE sesame 0 2000000000 1\r\n" + secret, backends.TooLarge, "Get GetMany"},
		{"a huge meta length", "VA 2000000000 ksesame t5\r\n" + secret, backends.TooLarge, "GetEntry Swap"},
		{"a length out of range", "VALUE sesame 0 99999999999999999999 1\r\n", backends.Transient, "Get GetMany"},
		{"a negative length", "VALUE sesame 0 -1 1\r\n", backends.Transient, "Get GetMany"},
		{"a negative meta length", "VA -1 ksesame t5\r\n", backends.Transient, "GetEntry Swap"},
		{"another key", "VALUE other 0 1 1\r\na\r\nEND\r\n", backends.Transient, "Get GetMany Unlock"},
		{"another meta key", "VA 1 kother t5\r\na\r\n", backends.Transient, "GetEntry Swap"},
		{"another meta key without value", "HD kother t5\r\n", backends.Transient, "TTL"},
		{"a meta hit without value", "HD ksesame t5\r\n", backends.Transient, "GetEntry"},
		{"a TTL that is none", "HD ksesame tnever\r\n", backends.Transient, "TTL"},
		{"a value that does not end", "VALUE sesame 0 1 1\r\nabEND\r\n", backends.Transient, "Get GetMany"},
		{"more values than keys", strings.Repeat("VALUE sesame 0 1 1\r\na\r\n", 3) + "END\r\n", backends.Transient, "Get GetMany"},
		{"STORED to a read", "STORED\r\n", backends.Transient, "Get GetEntry GetMany TTL Exists Delete DeleteMany Touch"},
		{"ERROR", "ERROR\r\n", backends.Permanent, ""},
		{"CLIENT_ERROR", "CLIENT_ERROR bad sesame\r\n", backends.Permanent, ""},
		{"SERVER_ERROR", "SERVER_ERROR bad sesame\r\n", backends.Transient, ""},
		{"too large", "SERVER_ERROR object too large for cache\r\n", backends.TooLarge, "Set SetMany"},
		{"out of memory", "SERVER_ERROR out of memory storing object\r\n", backends.Overload, "Set SetMany"},
		{"login", "CLIENT_ERROR unauthenticated\r\n", backends.Auth, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr, _ := liar(t, func(line string) string {
				if line == secret { // the body of a Set
					return ""
				}
				return tc.answer
			})
			for name, call := range operations {
				if tc.only != "" && !strings.Contains(" "+tc.only+" ", " "+name+" ") {
					continue
				}
				b := open(t, addr, nil)
				grown, err := memory(func() error { return call(t.Context(), b, secret) })
				var failed *backends.Error
				if !errors.As(err, &failed) || failed.Kind != tc.kind {
					t.Errorf("%s = %v, want kind %v", name, err, tc.kind)
				}
				if strings.Contains(fmt.Sprint(err), secret) {
					t.Errorf("%s: the error tells the key or the answer", name)
				}
				if grown > 4<<20 {
					t.Errorf("%s allocated %d bytes", name, grown)
				}
			}
		})
	}
}

func memory(f func() error) (uint64, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, err
}

// Rule: what comes beyond an answer is nobody's answer: the connection that it
// came on is not used again.
func TestExcessIsNotTheNextAnswer(t *testing.T) {
	for name, answer := range map[string]func(string) string{
		"Get": func(line string) string {
			return strings.Replace("VALUE key 0 1 1\r\na\r\nEND\r\nVALUE key 0 6 1\r\npoison\r\nEND\r\n", "key", strings.Fields(line)[1], 2)
		},
		"Set": func(line string) string {
			return map[bool]string{true: "STORED\r\nSTORED\r\n"}[strings.HasPrefix(line, "set")]
		},
		"Delete": func(string) string { return "DELETED\r\nNOT_FOUND\r\n" },
		"Exists": func(string) string { return "HD\r\nEN\r\n" },
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := liar(t, answer)
			b := open(t, addr, nil)
			for i := range 3 {
				if err := operations[name](t.Context(), b, fmt.Sprint("k", i)); err != nil {
					t.Errorf("call %d = %v", i, err)
				}
			}
			if name == "Get" {
				want(t, b, "k", "a")
			}
			if h := b.Health(t.Context()); !h.OK {
				t.Errorf("Health = %v", h.Err)
			}
		})
	}
}
