package guard_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/internal/guard"
)

// Rule: no spelling of an address that is not public passes, with or without a
// path and a port.
func TestParseRefusesAddresses(t *testing.T) {
	hosts := map[string][]string{
		"loopback": {
			"127.0.0.1", "127.255.255.254", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7F.1", "0x7f.0x0.0x0.0x1", "017700000001",
			"0177.0.0.1", "0177.1", "127.0.0.1.", "00000177.0.0.1", "127.0x1", "0x7f.1.",
			"localhost", "LOCALHOST", "localhost.", "a.localhost", "a.b.LocalHost.", "localhost.localdomain", "ip6-localhost", "ip6-loopback",
			"[::1]", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[::7f00:1]",
			"[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::127.0.0.1]", "[64:ff9b:1:7f00:0:100::]",
			"[2002:7f00:1::]", "[2002:7f00:0001:1::1]", "[2607:f8b0::5efe:127.0.0.1]", "[2607:f8b0::200:5efe:127.0.0.1]",
		},
		"private": {
			"10.0.0.1", "10.1", "0xa000001", "167772161", "012.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.257", "0xc0a80001", "3232235521",
			"[::ffff:10.0.0.1]", "[64:ff9b::10.0.0.1]", "[64:ff9b::a00:1]", "[2002:a00:1::]", "[2002:c0a8:101::1]", "[fc00::1]", "[fdff::1]", "[FD12:3456::1]",
		},
		"shared": {"100.64.0.1", "100.127.255.255", "0x64400001", "[::ffff:100.64.0.1]", "[64:ff9b::6440:1]"},
		"link-local and metadata": {
			"169.254.169.254", "169.254.43518", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "[fe80::1]", "[febf::1]", "[::ffff:169.254.169.254]",
			"[64:ff9b::169.254.169.254]", "[fd00:ec2::254]", "100.100.100.200", "168.63.129.16",
		},
		"zone":          {"[fe80::1%25eth0]", "[2607:f8b0::1%25eth0]", "[::1%25lo]"},
		"unspecified":   {"0.0.0.0", "0", "0x0", "00", "0.1", "0.255.255.255", "[::]", "[::ffff:0.0.0.0]", "[64:ff9b::0.0.0.0]"},
		"multicast":     {"224.0.0.1", "239.255.255.255", "0xe0000001", "[ff02::1]", "[ff0e::1]", "[2002:e000:1::]"},
		"site-local":    {"[fec0::1]", "[feff::1]"},
		"documentation": {"192.0.2.1", "198.51.100.1", "203.0.113.1", "[2001:db8::1]", "[3fff::1]"},
		"reserved":      {"240.0.0.1", "255.255.255.255", "0xffffffff", "4294967295", "192.0.0.1", "198.18.0.1", "192.88.99.1", "[100::1]", "[2001::1]", "[4000::1]", "[5f00::1]"},
	}
	total := 0
	for what, list := range hosts {
		for _, host := range list {
			total++
			for _, raw := range []string{"https://" + host, "https://" + host + "/v1", "HTTPS://" + host + ":8443/"} {
				u, err := guard.Rules{}.Parse(raw)
				var bad *guard.URLError
				if !errors.As(err, &bad) || u != nil {
					t.Errorf("%s: %s = %v, want a *URLError", what, raw, err)
					continue
				}
				if !errors.Is(err, guard.ErrAddress) && what != "zone" {
					t.Errorf("%s: %s = %v, want ErrAddress", what, raw, err)
				}
				if name := strings.Trim(host, "[]"); strings.Contains(err.Error(), name) && len(name) > 3 {
					t.Errorf("%s: the error repeats the host: %v", what, err)
				}
			}
		}
	}
	if total < 100 {
		t.Errorf("%d spellings were tried", total)
	}
}

// Rule: what is not a plain https URL of a host is refused, and the error
// repeats nothing of it.
func TestParseRefusesURLs(t *testing.T) {
	for what, raw := range map[string]string{
		"empty":                 "",
		"no scheme":             "cache.canary.test/v1",
		"http":                  "http://cache.canary.test",
		"another scheme":        "ftp://cache.canary.test",
		"a file":                "file:///etc/canary",
		"no host":               "https:///canary",
		"opaque":                "https:canary",
		"credentials":           "https://user:canary@cache.test",
		"a user":                "https://canary@cache.test",
		"a query":               "https://cache.test/?canary=1",
		"an empty query":        "https://cache.test/canary?",
		"a fragment":            "https://cache.test/#canary",
		"an empty fragment":     "https://cache.test/canary#",
		"port 0":                "https://cache.canary.test:0",
		"port 65536":            "https://cache.canary.test:65536",
		"no port":               "https://cache.canary.test:/",
		"a backslash":           `https://cache.test\@canary.test/`,
		"a space":               "https://cache.test/a canary",
		"a tab":                 "https://cache.test/\tcanary",
		"a newline":             "https://cache.test/canary\n",
		"full-width digits":     "https://１２７.0.0.1/canary",
		"ideographic full stop": "https://127。0。0。1/canary",
		"circled digits":        "https://①②⑦.0.0.1/canary",
		"an escaped host":       "https://%31%32%37.0.0.1/canary",
		"five parts":            "https://1.2.3.4.5/canary",
		"a part over 255":       "https://1.2.300.4/canary",
		"a number over 32 bits": "https://4294967296/canary",
		"public in octal":       "https://010.8.8.8/canary",
		"public as a number":    "https://134744072/canary",
		"an empty label":        "https://cache..canary.test",
		"two dots at the end":   "https://cache.canary.test..",
		"a star":                "https://*.canary.test",
		"another bracket":       "https://[::1]canary",
	} {
		u, err := guard.Rules{}.Parse(raw)
		var bad *guard.URLError
		if !errors.As(err, &bad) || u != nil || bad.Reason == "" {
			t.Errorf("%s: %v, want a *URLError", what, err)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error repeats the URL: %v", what, err)
		}
	}
}

func TestParse(t *testing.T) {
	private, plain := guard.Rules{Private: true}, guard.Rules{Plain: true, Private: true}
	for _, c := range []struct {
		rules     guard.Rules
		raw, want string
	}{
		{guard.Rules{}, "https://api.cachekit.io", "https://api.cachekit.io"},
		{guard.Rules{}, "HTTPS://API.CacheKit.IO.:8443/base/", "https://api.cachekit.io:8443/base/"},
		{guard.Rules{}, "https://8.8.8.8/", "https://8.8.8.8/"},
		{guard.Rules{}, "https://[2607:F8B0::1]:443/", "https://[2607:f8b0::1]:443/"},
		{guard.Rules{}, "https://[64:ff9b::8.8.8.8]", "https://[64:ff9b::808:808]"},
		{guard.Rules{}, "https://xn--bcher-kva.example", "https://xn--bcher-kva.example"},
		{guard.Rules{}, "https://0x7f.example", "https://0x7f.example"},
		{guard.Rules{}, "https://localhost.example", "https://localhost.example"},
		{guard.Rules{Hosts: []string{"API.cachekit.io."}}, "https://api.cachekit.io", "https://api.cachekit.io"},
		{guard.Rules{Query: true}, "https://cache.test/{key}?ttl={ttl}", "https://cache.test/%7Bkey%7D?ttl={ttl}"},
		{private, "https://127.0.0.1:8443", "https://127.0.0.1:8443"},
		{private, "https://localhost", "https://localhost"},
		{private, "https://[fd00::1]", "https://[fd00::1]"},
		{private, "https://[::ffff:10.0.0.1]", "https://[::ffff:10.0.0.1]"},
		{plain, "http://10.0.0.1", "http://10.0.0.1"},
	} {
		u, err := c.rules.Parse(c.raw)
		if err != nil || u.String() != c.want {
			t.Errorf("%s = %v, %v, want %s", c.raw, u, err, c.want)
		}
	}
	for _, raw := range []string{"https://169.254.169.254", "https://0.0.0.0", "https://[fd00:ec2::254]", "https://[::]", "https://224.0.0.1", "https://[fe80::1]", "https://0x7f000001", "https://127.1"} {
		if _, err := private.Parse(raw); err == nil {
			t.Errorf("%s passes with Private", raw)
		}
	}
	if _, err := (guard.Rules{Hosts: []string{"api.cachekit.io"}}).Parse("https://api.cachekit.io.evil.test"); err == nil {
		t.Error("a host outside of Hosts passes")
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"https://api.cachekit.io/v1", "https://127.1", "https://[::1]:1", "https://0x7f.0.0.1", "https://a@b", "https://[64:ff9b::1]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := guard.Rules{}.Parse(raw)
		if err != nil {
			return
		}
		if u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Hostname() == "" {
			t.Errorf("%q passes", raw)
		}
		if a, err := netip.ParseAddr(u.Hostname()); err == nil && (guard.Rules{}).CheckAddr(a) != nil {
			t.Errorf("%q passes", raw)
		}
		if again, err := (guard.Rules{}).Parse(u.String()); err != nil || again.Host != u.Host {
			t.Errorf("%q is not stable: %v", raw, err)
		}
	})
}

// Rule: a refusal names the options that would lift it, all of them and no other,
// and none if there would be another reason.
func TestRemedies(t *testing.T) {
	named := guard.Rules{Hosts: []string{"a.test"}, Remedies: guard.Remedies{Hosts: "hosts", Plain: "plain", Private: "private"}}
	for _, c := range []struct {
		raw, want string
	}{
		{"http://a.test", "plain"},
		{"https://b.test", "hosts"},
		{"http://b.test", "hosts, plain"},
		{"https://10.0.0.1", "hosts, private"},
		{"http://localhost", "hosts, plain, private"},
		{"https://169.254.169.254", ""},
		{"ftp://a.test", ""},
		{"http://a.test?q", ""},
	} {
		_, err := named.Parse(c.raw)
		var bad *guard.URLError
		if !errors.As(err, &bad) || bad.Remedy != c.want || c.want != "" && !strings.HasSuffix(err.Error(), " ("+c.want+")") {
			t.Errorf("%s = %v, want the remedy %q", c.raw, err, c.want)
		}
	}
	unnamed := named
	unnamed.Remedies.Plain = ""
	if _, err := unnamed.Parse("http://b.test"); err == nil || strings.Contains(err.Error(), "hosts") {
		t.Errorf("one remedy of two that are needed: %v", err)
	}
}
