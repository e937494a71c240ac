package redisbackend_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// liar is a server that greets like Redis and then says what says writes; without
// it, the value of a key is the key. It hangs up if says returns false.
type liar struct {
	addr string
	says atomic.Pointer[func(c net.Conn, command []string) bool]

	mu    sync.Mutex
	conns []net.Conn
}

func newLiar(t testing.TB) *liar {
	t.Helper()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{addr: listen.Addr().String()}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := listen.Accept()
			if err != nil {
				return
			}
			l.mu.Lock()
			l.conns = append(l.conns, c)
			l.mu.Unlock()
			serving.Go(func() { l.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = listen.Close()
		l.mu.Lock()
		for _, c := range l.conns {
			_ = c.Close()
		}
		l.mu.Unlock()
		serving.Wait()
	})
	return l
}

func (l *liar) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		command, err := readCommand(r)
		if err != nil {
			return
		}
		says := truth
		if f := l.says.Load(); f != nil {
			says = *f
		}
		if !says(c, command) {
			return
		}
	}
}

// say has l answer everything but a greeting with text.
func (l *liar) say(text string) {
	l.tell(func(c net.Conn, command []string) bool {
		switch strings.ToLower(command[0]) {
		case "hello", "ping", "info", "client":
			return truth(c, command)
		}
		_, err := io.WriteString(c, text)
		return err == nil
	})
}

func (l *liar) tell(says func(c net.Conn, command []string) bool) { l.says.Store(&says) }

func (l *liar) repent() { l.says.Store(nil) }

// readCommand reads a command without its last argument if that is very long.
func readCommand(r *bufio.Reader) ([]string, error) {
	n, err := readLength(r)
	if err != nil {
		return nil, err
	}
	command := make([]string, n)
	for i := range command {
		size, err := readLength(r)
		if err != nil || size > 1<<20 {
			return command[:i], err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		command[i] = string(b[:size])
	}
	return command, nil
}

func readLength(r *bufio.Reader) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

func truth(c net.Conn, command []string) bool {
	answer := "+OK\r\n"
	switch strings.ToLower(command[0]) {
	case "hello":
		answer = map[string]string{"2": "*0\r\n", "3": "%0\r\n"}[command[1]]
	case "get", "info":
		answer = fmt.Sprintf("$%d\r\n%s\r\n", len(command[1]), command[1])
	case "pttl", "exists", "unlink":
		answer = ":1\r\n"
	case "mget":
		answer = fmt.Sprintf("*%d\r\n", len(command)-1)
		for _, key := range command[1:] {
			answer += fmt.Sprintf("$%d\r\n%s\r\n", len(key), key)
		}
	}
	_, err := io.WriteString(c, answer)
	return err == nil
}

// lies are answers to any command. Some are the truth for some commands.
var lies = map[string]string{
	"silence": "", "half a status": "+O", "half a length": "$5\r", "half a value": "$100\r\nabc",
	"huge value": "$2147483647\r\n", "length beyond an int": "$99999999999999999999\r\n", "negative length": "$-2\r\n", "null": "_\r\n",
	"huge array": "*2147483647\r\n", "nested arrays": strings.Repeat("*1\r\n", 10000), "nested maps": strings.Repeat("%1\r\n", 10000),
	"push": ">2\r\n+invalidate\r\n*1\r\n+k\r\n+OK\r\n", "attribute": "|1\r\n+a\r\n+b\r\n+OK\r\n",
	"echo in an error": "-ERR canary\r\n", "echo as a code": "-CANARY:CANARY x\r\n", "escape as a code": "-\x1b[31M x\r\n", "endless error": "-" + strings.Repeat("CANARY ", 1<<17) + "\r\n",
	"echo in a status": "+canary\r\n", "echo as a number": ":canary\r\n", "echo as a value": "$6\r\ncanary\r\n", "echo of another type": "(canary\r\n", "echo of no type": "canary\r\n",
	"endless line": strings.Repeat("canary", 1<<17), "number beyond an int": ":99999999999999999999999\r\n", "wrong line end": "$1\r\naXX", "empty line": "\r\n",
	"MOVED": "-MOVED 1 127.0.0.1:1\r\n", "ASK": "-ASK 1 127.0.0.1:1\r\n", "LOADING": "-LOADING x\r\n", "READONLY": "-READONLY x\r\n", "NOAUTH": "-NOAUTH x\r\n",
}

// Rule: whatever a server says to whatever call, the call ends in time, takes no
// memory, tells nothing of what the server said, and leaves no answer to others.
func TestLies(t *testing.T) {
	l := newLiar(t)
	b := open(t, "redis://user:canary@"+l.addr, &redisbackend.Options{MaxValueBytes: 1 << 20})
	item := backends.Item{Key: "k-canary", Value: []byte("v-canary"), TTL: time.Minute}
	for op, call := range map[string]func(context.Context) error{
		"Get":        func(ctx context.Context) error { _, err := b.Get(ctx, item.Key); return err },
		"GetEntry":   func(ctx context.Context) error { _, err := b.GetEntry(ctx, item.Key); return err },
		"GetMany":    func(ctx context.Context) error { return b.GetMany(ctx, []string{item.Key, "k"})[0].Err },
		"Set":        func(ctx context.Context) error { return b.Set(ctx, item.Key, item.Value, item.TTL) },
		"SetMany":    func(ctx context.Context) error { return b.SetMany(ctx, []backends.Item{item, item})[1] },
		"Delete":     func(ctx context.Context) error { _, err := b.Delete(ctx, item.Key); return err },
		"DeleteMany": func(ctx context.Context) error { return b.DeleteMany(ctx, []string{item.Key})[0].Err },
		"Exists":     func(ctx context.Context) error { _, err := b.Exists(ctx, item.Key); return err },
		"TTL":        func(ctx context.Context) error { _, err := b.TTL(ctx, item.Key); return err },
		"Touch":      func(ctx context.Context) error { _, err := b.Touch(ctx, item.Key, backends.NoExpiry); return err },
		"Lock":       func(ctx context.Context) error { _, err := b.Lock(ctx, item.Key, time.Minute); return err },
		"LockMany":   func(ctx context.Context) error { return b.LockMany(ctx, []string{item.Key, "k"}, time.Minute)[0].Err },
		"UnlockMany": func(ctx context.Context) error {
			return b.UnlockMany(ctx, []backends.HeldLock{{Key: item.Key, Token: "v-canary"}, {Key: "k"}})[0].Err
		},
		"Swap": func(ctx context.Context) error { _, err := b.Swap(ctx, item.Key, nil, nil); return err },
	} {
		for name, lie := range lies {
			l.say(lie)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			start := time.Now()
			err := call(ctx)
			cancel()
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("%s to %s: %v", name, op, took)
			}
			if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 16<<20 {
				t.Errorf("%s to %s: %d bytes allocated", name, op, after.TotalAlloc-before.TotalAlloc)
			}
			if text := fmt.Sprint(err); strings.Contains(strings.ToLower(text), "canary") || strings.Contains(text, "\x1b") {
				t.Errorf("%s to %s: %q", name, op, text)
			}
			l.repent()
			testenv.Poll(t, 10*time.Second, "the truth", func() bool { v, err := b.Get(t.Context(), "k"); return err == nil && string(v) == "k" })
			if r := b.GetMany(t.Context(), []string{"k", "l"}); string(r[0].Entry.Value) != "k" || string(r[1].Entry.Value) != "l" {
				t.Fatalf("after %s to %s: %v", name, op, r)
			}
		}
	}
}

// Rule: what a server refuses before it has read it all, and hangs up, is refused,
// and no failure of the storage.
func TestRefusedBeforeItWasSent(t *testing.T) {
	l := newLiar(t)
	b := open(t, "redis://"+l.addr, nil)
	l.tell(func(c net.Conn, command []string) bool {
		if command[0] != "set" || len(command) > 2 {
			return truth(c, command)
		}
		_, _ = io.WriteString(c, "-ERR Protocol error: invalid bulk length\r\n")
		time.Sleep(20 * time.Millisecond) // while the client is writing
		return false
	})
	value := make([]byte, 32<<20)
	for range 3 {
		err := b.Set(t.Context(), "k", value, time.Minute)
		var refused *backends.Error
		if !errors.As(err, &refused) || refused.Kind != backends.TooLarge {
			t.Errorf("Set = %v, want too large", err)
		}
		want(t, b, "k", "k")
	}
}
