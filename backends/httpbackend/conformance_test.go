package httpbackend_test

import (
	"encoding/binary"
	"testing"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/backendtest"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// The suite against nginx, which knows no TTL: entries are framed.
func TestConformanceNginx(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := testenv.Nginx(t, &testenv.NginxOptions{Authorization: "Bearer " + token})
	for scheme, addr := range map[string]string{"http": s.Addr(), "https": s.TLSAddr()} {
		t.Run(scheme, func(t *testing.T) {
			backendtest.Run(t, backendtest.Harness{
				Want: []string{"EntryReader", "KeyRuler"},
				Open: func(tb testing.TB) backendtest.Subject {
					s.Clear()
					p := testenv.Proxy(tb, addr)
					return backendtest.Subject{
						Backend: at(tb, s, scheme, p.Addr(), nil),
						Other:   func(tb testing.TB) backends.Backend { return at(tb, s, scheme, addr, nil) },
						Stall:   p.Stall, Resume: p.Resume, Kill: p.Kill,
						Raw:     func(tb testing.TB, key string) []byte { return unframe(tb, s.Read(encoded(key))) },
						Secrets: []string{token},
					}
				},
			})
		})
	}
}

// unframe removes the frame that the package documentation describes.
func unframe(tb testing.TB, b []byte) []byte {
	tb.Helper()
	if b == nil {
		return nil
	}
	if len(b) < 12 || string(b[:4]) != "CKH1" || binary.BigEndian.Uint64(b[4:]) == 0 {
		tb.Errorf("%d bytes without a frame", len(b))
		return nil
	}
	return b[12:]
}
