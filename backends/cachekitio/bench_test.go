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
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
	"github.com/cachekit-io/cachekit-go/internal/beside"
)

// bare is a client of golang.org/x/net/http2 with the backend's pings and headers,
// which the server in this process reads and keeps, and nothing else.
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
	req.Header.Set("User-Agent", "cachekit-go/unknown")
	req.Header.Set("X-Cachekit-Session-Id", "00000000-0000-4000-8000-000000000000")
	req.Header.Set("X-Cachekit-Session-Start", "1790000000000")
	req.Header.Set("X-Cachekit-L1-Status", "disabled")
	if method == http.MethodPut {
		req.Header.Set("X-Cachekit-Ttl", "3600")
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
	body := make([]byte, max(resp.ContentLength, 0))
	if _, err := io.ReadFull(resp.Body, body); err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return body, err
}

// BenchmarkBeside compares with a bare HTTP/2 client, on one connection each. Both
// read a body into a slice of its length. A batch is 100 calls, 16 at a time.
func BenchmarkBeside(b *testing.B) {
	s := serve(b, &iotest.Options{MaxStreams: 1000}) // x/net jams when the calls are more
	ours, other := open(b, s.Options()), newBare(b, s)
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	b.Cleanup(cancel)
	beside.Table(b, func(size int) []beside.Case {
		keys, value := make([]string, beside.Keys), make([]byte, size)
		for i := range keys {
			keys[i] = fmt.Sprintf("k-%d-%d", size, i)
			if err := ours.Set(ctx, keys[i], value, time.Hour); err != nil {
				b.Fatal(err)
			}
		}
		bareGet := func(i int) error { _, err := other.do(ctx, "GET", keys[i], nil); return err }
		bareSet := func(i int) error { _, err := other.do(ctx, "PUT", keys[i], value); return err }
		oursGet := func(i int) error { _, err := ours.Get(ctx, keys[i]); return err }
		oursSet := func(i int) error { return ours.Set(ctx, keys[i], value, time.Hour) }
		return []beside.Case{
			{Name: "get", Bare: bareGet, Ours: oursGet},
			{Name: "set", Bare: bareSet, Ours: oursSet},
			{Name: "get100", Bare: beside.Many(bareGet), Ours: beside.Many(oursGet)},
			{Name: "set100", Bare: beside.Many(bareSet), Ours: beside.Many(oursSet)},
		}
	})
}
