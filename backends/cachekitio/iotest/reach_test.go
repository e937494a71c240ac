package iotest_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
)

func TestOptions(t *testing.T) {
	s := start(t, nil)
	o := s.Options()
	if o.URL != "https://api.cachekit.io" || o.APIKey.Class() != cachekitio.SDK || o.AllowCustomHost || o.Proxy != nil {
		t.Errorf("options %+v weaken the client's rules", o)
	}
	if text := fmt.Sprintf("%+v", o); strings.Contains(text, s.APIKey()) {
		t.Error("the options print the API key")
	}
}

// TestDialerLeadsHereAlone: neither another name nor another port, nor the address
// of the server itself.
func TestDialerLeadsHereAlone(t *testing.T) {
	s := start(t, nil)
	for _, addr := range []string{"api.cachekit.io:80", "api.staging.cachekit.io:443", "example.com:443", s.Addr()} {
		if conn, err := s.DialContext(t.Context(), "tcp", addr); err == nil {
			conn.Close()
			t.Errorf("the dialer leads to %s", addr)
		}
	}
}

// TestCertificate: it is for the service's host, whose CA no other client trusts
// and which cannot sign for another name.
func TestCertificate(t *testing.T) {
	s := start(t, nil)
	for _, tc := range []struct {
		name string
		tls  *tls.Config
		ok   bool
	}{
		{"right", &tls.Config{RootCAs: s.RootCAs(), ServerName: iotest.Host}, true},
		{"other name", &tls.Config{RootCAs: s.RootCAs(), ServerName: "api.staging.cachekit.io"}, false},
		{"address", &tls.Config{RootCAs: s.RootCAs(), ServerName: "127.0.0.1"}, false},
		{"system roots", &tls.Config{ServerName: iotest.Host}, false},
		{"another server's CA", &tls.Config{RootCAs: start(t, nil).RootCAs(), ServerName: iotest.Host}, false},
	} {
		conn, err := tls.Dial("tcp", s.Addr(), tc.tls)
		if err == nil {
			conn.Close()
		}
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// TestRootIsBoundToTheHost: whoever trusts the CA trusts it for one name.
func TestRootIsBoundToTheHost(t *testing.T) {
	block, rest := pem.Decode(start(t, nil).RootPEM())
	if block == nil || len(rest) > 0 {
		t.Fatal("not one PEM block")
	}
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(root.PermittedDNSDomains, []string{iotest.Host}) || !root.PermittedDNSDomainsCritical {
		t.Errorf("the CA may sign for %v", root.PermittedDNSDomains)
	}
}

func TestProxy(t *testing.T) {
	s := start(t, nil)
	address, err := s.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.Proxy(); again != address || err != nil {
		t.Errorf("a second call returns %s, %v", again, err)
	}
	through, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, s, true)
	transport := c.http.Transport.(*http.Transport)
	transport.DialContext, transport.Proxy = nil, http.ProxyURL(through)
	c.want(200, "PUT", base+"a", big(1<<20))
	if r := c.want(200, "GET", base+"a", ""); len(r.body) != 1<<20 {
		t.Errorf("%d bytes", len(r.body))
	}
	for _, target := range []string{"https://example.com/", "https://api.cachekit.io:8443/", "https://" + s.Addr(), "http://api.cachekit.io/"} {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", target, nil)
		if resp, err := c.http.Do(r); err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden {
				t.Errorf("the proxy leads to %s", target)
			}
		}
	}
	s.Close()
	if conn, err := net.Dial("tcp", through.Host); err == nil {
		conn.Close()
		t.Error("the proxy outlives the server")
	}
	if _, err := s.Proxy(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed server starts a proxy: %v", err)
	}
}

func TestStartRefusals(t *testing.T) {
	taken := start(t, nil)
	for name, o := range map[string]*iotest.Options{
		"every interface": {Addr: ":0"}, "another machine": {Addr: "192.0.2.1:0"}, "no port": {Addr: "127.0.0.1"}, "a name": {Addr: "example.com:1"},
		"taken": {Addr: taken.Addr()}, "negative value": {MaxValueBytes: -1}, "negative store": {MaxBytes: -1}, "negative streams": {MaxStreams: -1},
	} {
		if s, err := iotest.Start(o); err == nil {
			s.Close()
			t.Errorf("%s: the server starts", name)
		}
	}
}

func TestHost(t *testing.T) {
	s := start(t, &iotest.Options{Host: "cache.example"})
	newClient(t, s, true).want(404, "GET", base+"a", "")
}
