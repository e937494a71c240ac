package httpbackend_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/httpbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// callers makes n calls of f by c callers and returns how long that takes.
func callers(b *testing.B, c, n int, f func() error) time.Duration {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	start := time.Now()
	for range c {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

// BenchmarkCalls compares with a bare net/http client on the same nginx, under a
// context that can end, in turns: "x-bare" is the median of what a call costs
// beside a bare one. Both read a body into a slice of its length.
func BenchmarkCalls(b *testing.B) {
	s := testenv.Nginx(b, &testenv.NginxOptions{Config: []string{"keepalive_requests 100000000;"}})
	for scheme, addr := range map[string]string{"http": s.Addr(), "https": s.TLSAddr()} {
		bare := &http.Client{Transport: &http.Transport{TLSClientConfig: s.TLSConfig(), ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 64, DisableCompression: true}}
		b.Cleanup(bare.CloseIdleConnections)
		ours := at(b, s, scheme, addr, func(o *httpbackend.Options) { o.StoreExpires = true })
		ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
		b.Cleanup(cancel)
		for _, size := range []int{64, 1 << 10, 64 << 10} {
			value := bytes.Repeat([]byte("v"), size)
			target := scheme + "://" + addr + "/bare"
			for _, c := range []struct {
				name       string
				bare, ours func() error
			}{
				{"get", func() error { return exchange(ctx, bare, http.MethodGet, target, nil) },
					func() error { _, err := ours.Get(ctx, "ours"); return err }},
				{"set", func() error { return exchange(ctx, bare, http.MethodPut, target, value) },
					func() error { return ours.Set(ctx, "ours", value, time.Minute) }},
			} {
				for _, n := range []int{1, 16} {
					b.Run(fmt.Sprintf("%s/%s/%dB/x%d", scheme, c.name, size, n), func(b *testing.B) {
						if err := exchange(ctx, bare, http.MethodPut, target, value); err != nil {
							b.Fatal(err)
						}
						if err := ours.Set(ctx, "ours", value, time.Minute); err != nil {
							b.Fatal(err)
						}
						b.ReportAllocs()
						var ratios []float64
						for b.Loop() {
							x := callers(b, n, 50, c.bare)
							y := callers(b, n, 100, c.ours)
							x += callers(b, n, 50, c.bare)
							ratios = append(ratios, float64(y)/float64(x))
						}
						slices.Sort(ratios)
						b.ReportMetric(ratios[len(ratios)/2], "x-bare")
					})
				}
			}
		}
	}
}

func exchange(ctx context.Context, client *http.Client, method, target string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode > 299 {
		return fmt.Errorf("%s: %s", method, resp.Status)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, max(resp.ContentLength, 0))); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
