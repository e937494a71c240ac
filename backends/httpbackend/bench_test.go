package httpbackend_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/httpbackend"
	"github.com/cachekit-io/cachekit-go/internal/beside"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// BenchmarkBeside compares with a bare net/http client on the same nginx, under a
// context that can end. Both authenticate, name the type of what they send and read
// a body into a slice of its length; ours has no rules for keys but its own. A batch
// is 100 calls, 16 at a time.
func BenchmarkBeside(b *testing.B) {
	s := testenv.Nginx(b, &testenv.NginxOptions{Config: []string{"keepalive_requests 100000000;"}})
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	b.Cleanup(cancel)
	for scheme, addr := range map[string]string{"http": s.Addr(), "https": s.TLSAddr()} {
		bare := &http.Client{Transport: &http.Transport{TLSClientConfig: s.TLSConfig(), ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 256, DisableCompression: true}}
		b.Cleanup(bare.CloseIdleConnections)
		ours := at(b, s, scheme, addr, func(o *httpbackend.Options) { o.StoreExpires, o.KeyRules = true, backends.KeyRules{} })
		b.Run(scheme, func(b *testing.B) {
			beside.Table(b, func(size int) []beside.Case {
				value := bytes.Repeat([]byte("v"), size)
				bareCall := func(method string, body []byte) func(int) error {
					return func(i int) error {
						return exchange(ctx, bare, method, fmt.Sprintf("%s://%s/bare-%d-%d", scheme, addr, size, i), body)
					}
				}
				key := func(i int) string { return fmt.Sprintf("ours-%d-%d", size, i) }
				oursSet := func(i int) error { return ours.Set(ctx, key(i), value, time.Minute) }
				oursGet := func(i int) error { _, err := ours.Get(ctx, key(i)); return err }
				bareGet, bareSet := bareCall(http.MethodGet, nil), bareCall(http.MethodPut, value)
				for i := range beside.Keys {
					if err := errors.Join(bareSet(i), oursSet(i)); err != nil {
						b.Fatal(err)
					}
				}
				return []beside.Case{
					{Name: "get", Bare: bareGet, Ours: oursGet},
					{Name: "set", Bare: bareSet, Ours: oursSet},
					{Name: "get100", Bare: beside.Many(bareGet), Ours: beside.Many(oursGet)},
					{Name: "set100", Bare: beside.Many(bareSet), Ours: beside.Many(oursSet)},
				}
			})
		})
	}
}

func exchange(ctx context.Context, client *http.Client, method, target string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if method == http.MethodPut {
		req.Header.Set("Content-Type", "application/octet-stream")
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
