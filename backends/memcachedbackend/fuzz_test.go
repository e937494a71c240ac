package memcachedbackend_test

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/memcachedbackend"
)

// FuzzReplies puts bytes in place of a server's answer to each kind of request
// but the handshake: values are part of what came and within the limit.
func FuzzReplies(f *testing.F) {
	for _, seed := range []string{
		"VALUE k 0 3 17\r\nabc\r\nEND\r\n", "END\r\n", "VALUE k 0 4000000000\r\n", "VALUE k 0 -1\r\n", "VA 3 kk t60 c9\r\nabc\r\n",
		"VA 2147483648 kk\r\n", "VA 3 kother t1\r\nabc\r\n", "HD kk t-1\r\n", "HD t-2\r\n", "EN\r\n", "STORED\r\n", "NOT_STORED\r\n",
		"DELETED\r\n", "NOT_FOUND\r\n", "TOUCHED\r\n", "ERROR\r\n", "SERVER_ERROR canary\r\n", "CLIENT_ERROR canary\r\n", "\r\n", "", strings.Repeat("A", 5000),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		b, err := memcachedbackend.Open(t.Context(), "127.0.0.1:11211", &memcachedbackend.Options{
			MaxValueBytes: 1 << 10, DialContext: func(context.Context, string, string) (net.Conn, error) {
				near, far := net.Pipe()
				go answerWith(far, answer)
				return near, nil
			},
		})
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		defer b.Close()
		for _, get := range []func() ([]byte, error){
			func() ([]byte, error) { return b.Get(t.Context(), "k") },
			func() ([]byte, error) { e, err := b.GetEntry(t.Context(), "k"); return e.Value, err },
			func() ([]byte, error) {
				r := b.GetMany(t.Context(), []string{"k", "l"})
				return r[0].Entry.Value, r[0].Err
			},
		} {
			if v, err := get(); err == nil && (!bytes.Contains(answer, v) || len(v) > 1<<10) {
				t.Errorf("value %q of answer %q", v, answer)
			} else if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the error repeats the answer: %v", err)
			}
		}
		_ = b.Set(t.Context(), "k", []byte("v"), backends.NoExpiry)
		_, _ = b.Delete(t.Context(), "k")
		_, _ = b.TTL(t.Context(), "k")
	})
}

// answerWith serves version and mn well, and answers anything else with answer
// before it hangs up.
func answerWith(conn net.Conn, answer []byte) {
	defer conn.Close()
	for r := bufio.NewReader(conn); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		reply := map[string]string{"version\r\n": "VERSION 1.6.0\r\n", "mn\r\n": "MN\r\n"}[line]
		if reply == "" {
			_, _ = conn.Write(answer)
			return
		}
		if _, err := conn.Write([]byte(reply)); err != nil {
			return
		}
	}
}

// FuzzServers puts text in place of a list of servers. What is refused is not
// repeated: it can hold a password that was put there by mistake.
func FuzzServers(f *testing.F) {
	for _, seed := range []string{
		"127.0.0.1:11211", "a:1,b:2", `["a:1","b:2"]`, "[::1]:11211", "", ",", "host", "host:0", "host:70000", "user:canary@host:1", "[", `["a:1"`, `[1]`, "a:1,a:1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		picked, err := memcachedbackend.Pick(list, "k")
		switch {
		case err != nil && strings.Contains(err.Error(), "canary"):
			t.Errorf("the error repeats the list: %v", err)
		case err == nil:
			if _, _, err := net.SplitHostPort(picked); err != nil && !strings.HasPrefix(picked, "/") {
				t.Errorf("Pick(%q) = %q: %v", list, picked, err)
			}
		}
	})
}
