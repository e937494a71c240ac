package redisbackend

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
)

// heard is a handler that adds up what it is told.
type heard struct{ bytes, most int }

func (*heard) Up()    {}
func (*heard) Down()  {}
func (*heard) Flush() {}
func (h *heard) Changed(keys []string) {
	h.most = max(h.most, len(keys))
	for _, k := range keys {
		h.bytes += len(k)
		if k == "" || len(k) > backends.MaxKeyBytes {
			panic("a key that the family cannot have is reported")
		}
	}
}

// FuzzReports is the parser of what a server sends on the tracking connection:
// whatever it says, reading ends with an error, and no more is passed on than it
// has sent, in bounded portions.
func FuzzReports(f *testing.F) {
	const hello = "%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
	for _, seed := range []string{
		hello + "+OK\r\n+PONG\r\n>2\r\n$10\r\ninvalidate\r\n*2\r\n$3\r\nn:a\r\n$3\r\nn:b\r\n",
		hello + "+OK\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n", hello + "-ERR no\r\n", strings.Replace(hello, "master", "slave!", 1),
		">2\r\n$10\r\ninvalidate\r\n*1000000000\r\n$3\r\nn:a\r\n", ">1000000000\r\n", strings.Repeat(">1\r\n", 100), strings.Repeat("*1\r\n", 100),
		">2\r\n$10\r\ninvalidate\r\n*1\r\n$1000000000\r\nx", ">2\r\n+message\r\n$3\r\nabc\r\n", "|1\r\n+a\r\n+b\r\n+c\r\n", "%-1\r\n", "$-2\r\n", ">2\r\n$10\r\ninvalidate\r\n*-1\r\n", "\n", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		h := new(heard)
		tr := &tracker{watches: map[*tracked]struct{}{{handler: h, up: true}: {}}, links: map[string]*link{}}
		tr.ctx, tr.cancel = context.WithCancel(t.Context())
		defer tr.cancel()
		l := &link{t: tr, opts: new(redis.Options), ctx: tr.ctx, cancel: tr.cancel, live: true, covered: []string{""}}
		tr.links[""] = l
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		s := newSession(l, near)
		s.r = bufio.NewReaderSize(bytes.NewReader(text), 16<<10)
		s.mu.Lock()
		for _, kind := range []requestKind{requestHello, requestTrack, requestOther} {
			s.waiting.push(request{kind: kind, prefixes: []string{""}})
		}
		s.mu.Unlock()
		if err := s.read(); err == nil {
			t.Error("reading ended without an error")
		}
		if h.bytes > len(text) || h.most > reportKeys {
			t.Errorf("%d bytes of keys of %d that were sent are passed on, up to %d at a time", h.bytes, len(text), h.most)
		}
	})
}
