package cachekitio_test

//lint:file-ignore SA1019 golang.org/x/net/http2 is what the backend is compared with.

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
)

// bare is a client of golang.org/x/net/http2 with the backend's pings and the
// headers that the API demands, and nothing else.
type bare struct {
	transport *http2.Transport
	key       string
}

func newBare(tb testing.TB, s *iotest.Server) *bare {
	t := &http2.Transport{
		DisableCompression: true, ReadIdleTimeout: 500 * time.Millisecond, PingTimeout: time.Second, StrictMaxConcurrentStreams: true,
		TLSClientConfig: &tls.Config{RootCAs: s.RootCAs(), MinVersion: tls.VersionTLS12},
		DialTLSContext: func(ctx context.Context, network, addr string, cfg *tls.Config) (net.Conn, error) {
			raw, err := new(net.Dialer).DialContext(ctx, network, s.Addr())
			if err != nil {
				return nil, err
			}
			c := tls.Client(raw, cfg)
			return c, c.HandshakeContext(ctx)
		},
	}
	tb.Cleanup(t.CloseIdleConnections)
	return &bare{t, s.APIKey()}
}

func (b *bare) do(ctx context.Context, method, key string, value []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "https://"+iotest.Host+"/v1/cache/"+key, bytes.NewReader(value))
	if err != nil {
		return nil, err
	}
	if value == nil {
		req.Body, req.ContentLength, req.GetBody = nil, 0, nil
	}
	req.Header.Set("Authorization", "Bearer "+b.key)
	req.Header.Set("X-CacheKit-L1-Status", "disabled")
	if method == http.MethodPut {
		req.Header.Set("X-CacheKit-TTL", "3600")
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	resp, err := b.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	return io.ReadAll(resp.Body)
}

// round times calls by n callers.
func round(b *testing.B, n, calls int, call func() error) time.Duration {
	start := time.Now()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for range calls / n {
				if err := call(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

func median[T time.Duration | float64](v []T) T {
	slices.Sort(v)
	return v[len(v)/2]
}

// BenchmarkCalls compares with a bare HTTP/2 client on one connection each, round
// by round in turn: ours/s and bare/s are calls per second in the median round,
// and ours/bare is the median of the rounds' ratios.
func BenchmarkCalls(b *testing.B) {
	s := serve(b, nil)
	ours, other := open(b, s.Options()), newBare(b, s)
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	for _, size := range []int{64, 1 << 10, 64 << 10} {
		key, value := fmt.Sprint("k", size), make([]byte, size)
		if err := ours.Set(ctx, key, value, time.Hour); err != nil {
			b.Fatal(err)
		}
		for _, n := range []int{1, 16} {
			for _, c := range []struct {
				name       string
				bare, ours func() error
			}{
				{"get", func() error { _, err := other.do(ctx, "GET", key, nil); return err }, func() error { _, err := ours.Get(ctx, key); return err }},
				{"set", func() error { _, err := other.do(ctx, "PUT", key, value); return err }, func() error { return ours.Set(ctx, key, value, time.Hour) }},
			} {
				b.Run(fmt.Sprintf("%s/%dB/x%d", c.name, size, n), func(b *testing.B) {
					calls := max(64, (8<<20)/(size+8<<10))
					var a, z []time.Duration
					var ratios []float64
					for b.Loop() {
						theirs, ours := round(b, n, calls, c.bare), round(b, n, calls, c.ours)
						a, z, ratios = append(a, theirs), append(z, ours), append(ratios, float64(theirs)/float64(ours))
					}
					per := func(d time.Duration) float64 { return float64(calls/n*n) / d.Seconds() }
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(per(median(a)), "bare/s")
					b.ReportMetric(per(median(z)), "ours/s")
					b.ReportMetric(median(ratios), "ours/bare")
				})
			}
		}
	}
}
