package guard

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Rules say where a client may connect to. The zero value allows https to any
// host that has a public address.
type Rules struct {
	// Hosts are the host names that are allowed; nil allows every name. They
	// are compared in lower case, without a dot at the end.
	Hosts []string
	// Plain allows http beside https.
	Plain bool
	// Private allows loopback, private (RFC 1918, RFC 4193) and shared (RFC
	// 6598) addresses. Link-local addresses, which serve the metadata of clouds,
	// stay refused, as everything else does that is no host's.
	Private bool
	// Query allows a query in the URL.
	Query bool
	// Remedies say which options of the caller would lift Hosts, Plain and Private,
	// for the errors of Parse; empty where there is none.
	Remedies Remedies
}

// Remedies are clauses such as "Options.PlainHTTP allows http".
type Remedies struct{ Hosts, Plain, Private string }

// URLError refuses a URL. Its text never holds any part of the URL.
type URLError struct {
	Reason string
	// Remedy names the options that would allow the URL, if any would.
	Remedy string
	// Err is ErrAddress if the host is an address that the rules refuse.
	Err error
}

// Error says what is wrong with the URL and what would help.
func (e *URLError) Error() string {
	if e.Remedy == "" {
		return "invalid URL: " + e.Reason
	}
	return "invalid URL: " + e.Reason + " (" + e.Remedy + ")"
}

// Unwrap returns the cause.
func (e *URLError) Unwrap() error { return e.Err }

// Parse parses raw and applies the rules to its text. The host of the result is
// in lower case, without a dot at the end. An error is a [*URLError].
func (r Rules) Parse(raw string) (*url.URL, error) {
	u, err := r.parse(raw)
	var refused *URLError
	if errors.As(err, &refused) {
		refused.Remedy = r.remedy(raw)
	}
	return u, err
}

// remedy names the options without which raw stays refused, or none if it would
// stay so with all of them.
func (r Rules) remedy(raw string) string {
	options := []struct {
		remedy string
		set    func(*Rules)
	}{
		{r.Remedies.Hosts, func(r *Rules) { r.Hosts = nil }},
		{r.Remedies.Plain, func(r *Rules) { r.Plain = true }},
		{r.Remedies.Private, func(r *Rules) { r.Private = true }},
	}
	allowed := func(without int) bool {
		looser := r
		for i, o := range options {
			if i != without && o.remedy != "" {
				o.set(&looser)
			}
		}
		_, err := looser.parse(raw)
		return err == nil
	}
	if !allowed(-1) {
		return ""
	}
	var needed []string
	for i, o := range options {
		if !allowed(i) {
			needed = append(needed, o.remedy)
		}
	}
	return strings.Join(needed, ", ")
}

func (r Rules) parse(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, &URLError{Reason: "it cannot be parsed"}
	case strings.ContainsAny(raw, "\\ "):
		return nil, &URLError{Reason: "it holds a backslash or a space"}
	case u.Scheme == "http" && !r.Plain:
		return nil, &URLError{Reason: "its scheme is http; https is wanted"}
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, &URLError{Reason: "its scheme is not https"}
	case u.Opaque != "" || u.Host == "":
		return nil, &URLError{Reason: "it has no host"}
	case u.User != nil:
		return nil, &URLError{Reason: "it holds credentials; give them as an option"}
	case !r.Query && (u.RawQuery != "" || u.ForceQuery):
		return nil, &URLError{Reason: "it has a query"}
	case strings.Contains(raw, "#"):
		return nil, &URLError{Reason: "it has a fragment"}
	}
	host, err := r.checkHost(u.Hostname())
	if err != nil {
		return nil, err
	}
	if u.Host, err = joinPort(host, u); err != nil {
		return nil, err
	}
	return u, nil
}

func joinPort(host string, u *url.URL) (string, error) {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	port := u.Port()
	if port == "" {
		if strings.HasSuffix(u.Host, ":") {
			return "", &URLError{Reason: "its port is empty"}
		}
		return host, nil
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", &URLError{Reason: "its port is not 1 to 65535"}
	}
	return host + ":" + port, nil
}

func (r Rules) checkHost(host string) (string, error) {
	host = canonical(host)
	addr, isAddr, err := parseHost(host)
	switch {
	case err != nil:
		return "", err
	case isAddr:
		if err := r.CheckAddr(addr); err != nil {
			return "", refusedHost(err)
		}
		host = addr.String()
	case !r.Private && isLocalName(host):
		return "", refusedHost(refuse("a name of this machine"))
	}
	if len(r.Hosts) > 0 && !slices.ContainsFunc(r.Hosts, func(h string) bool { return canonical(h) == host }) {
		return "", &URLError{Reason: "its host is not one of those allowed"}
	}
	return host, nil
}

func refusedHost(err error) error {
	var a *AddressError
	errors.As(err, &a)
	return &URLError{Reason: "its host is " + a.What, Err: err}
}

func canonical(host string) string { return strings.TrimSuffix(strings.ToLower(host), ".") }

func isLocalName(host string) bool {
	switch host[strings.LastIndexByte(host, '.')+1:] {
	case "localhost", "localdomain", "localhost6", "ip6-localhost", "ip6-loopback":
		return true
	}
	return false
}

// parseHost reads an address in any spelling that inet_aton takes, and tells
// which hosts are names. A spelling other than the usual one is refused even if
// the address is public: resolvers disagree on it.
func parseHost(host string) (addr netip.Addr, isAddr bool, err error) {
	for i := range len(host) {
		if c := host[i]; c >= 0x80 {
			return addr, false, &URLError{Reason: "its host is not ASCII; an international name is written in its xn-- form"}
		}
	}
	if strings.Contains(host, ":") {
		addr, err := netip.ParseAddr(host)
		if err != nil || addr.Zone() != "" {
			return addr, false, &URLError{Reason: "its host is not a valid IPv6 address without a zone"}
		}
		return addr, true, nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr, true, nil
	}
	labels := strings.Split(host, ".")
	if !isNumber(labels[len(labels)-1]) {
		return addr, false, checkName(labels)
	}
	if addr, ok := parseNumbers(labels); ok {
		if err := (Rules{}).CheckAddr(addr); err != nil {
			return addr, false, refusedHost(err)
		}
	}
	return addr, false, &URLError{Reason: "its host is a number, but no address of four decimal parts"}
}

func checkName(labels []string) error {
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return &URLError{Reason: "its host is not a valid name"}
		}
	}
	return nil
}

// isNumber is the test of the WHATWG URL standard ("ends in a number").
func isNumber(label string) bool {
	if label == "" {
		return false
	}
	if strings.HasPrefix(label, "0x") {
		return true
	}
	return strings.Trim(label, "0123456789") == ""
}

// parseNumbers is inet_aton: one to four numbers in decimal, octal (0...) or
// hexadecimal (0x...), the last of which fills the remaining bytes.
func parseNumbers(labels []string) (netip.Addr, bool) {
	if len(labels) > 4 {
		return netip.Addr{}, false
	}
	var sum uint64
	for i, l := range labels {
		last := i == len(labels)-1
		n, err := parseNumber(l)
		if err != nil || !last && n > 255 {
			return netip.Addr{}, false
		}
		if !last {
			sum |= n << (24 - 8*i)
			continue
		}
		if n >= 1<<(32-8*i) {
			return netip.Addr{}, false
		}
		sum |= n
	}
	return netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}), true
}

func parseNumber(label string) (uint64, error) {
	switch {
	case label == "0x":
		return 0, nil
	case strings.HasPrefix(label, "0x"):
		return strconv.ParseUint(label[2:], 16, 64)
	case len(label) > 1 && label[0] == '0':
		return strconv.ParseUint(label[1:], 8, 64)
	}
	return strconv.ParseUint(label, 10, 64)
}
