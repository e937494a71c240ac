package cachekitio_test

import (
	"context"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
	"github.com/cachekit-io/cachekit-go/internal/guard"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a service for the test.
func serve(tb testing.TB, opts *iotest.Options) *iotest.Server {
	tb.Helper()
	s, err := iotest.Start(opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// options are those of s, changed.
func options(s *iotest.Server, change func(*cachekitio.Options)) *cachekitio.Options {
	o := s.Options()
	if change != nil {
		change(o)
	}
	return o
}

// through leads a client through a proxy in front of the server.
func through(p *testenv.FaultProxy) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, p.Addr())
		if err != nil {
			return nil, err
		}
		return guard.Admit(c), nil
	}
}

func open(tb testing.TB, o *cachekitio.Options) *cachekitio.Backend {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	b, err := cachekitio.Open(ctx, o)
	if err != nil {
		tb.Fatalf("Open: %v", err)
	}
	tb.Cleanup(func() { _ = b.Close() })
	return b
}
