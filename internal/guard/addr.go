package guard

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// ErrAddress is the class of every refusal of an address.
var ErrAddress = errors.New("guard: address refused")

// AddressError refuses an address. It is ErrAddress.
type AddressError struct {
	// What completes the sentence "the host is".
	What string
}

// Error says what kind of address it is, and names none.
func (e *AddressError) Error() string { return "refused to connect: the host is " + e.What }

// Is makes every AddressError an ErrAddress.
func (e *AddressError) Is(target error) bool { return target == ErrAddress }

func refuse(what string) error { return &AddressError{What: what} }

type block struct {
	prefix netip.Prefix
	what   string
}

func blocks(what string, prefixes ...string) []block {
	var list []block
	for _, p := range prefixes {
		list = append(list, block{netip.MustParsePrefix(p), what})
	}
	return list
}

func join(lists ...[]block) (all []block) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// The registries of special-purpose addresses (IANA; RFC 6890 and its updates).
// private is what Rules.Private allows, never what nothing allows.
var (
	private = join(
		blocks("a loopback address", "127.0.0.0/8", "::1/128"),
		blocks("a private address", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
		blocks("an address of a carrier's shared network", "100.64.0.0/10"),
	)
	never = join(
		blocks("an unspecified address", "0.0.0.0/8", "::/128"),
		blocks("a link-local address, where clouds serve their metadata", "169.254.0.0/16", "fe80::/10",
			"168.63.129.16/32", "100.100.100.200/32", "fd00:ec2::254/128"), // Azure, Alibaba Cloud, AWS
		blocks("a site-local address", "fec0::/10"),
		blocks("a multicast address", "224.0.0.0/4", "ff00::/8"),
		blocks("an address for documentation", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
		blocks("an address for benchmarks", "198.18.0.0/15", "2001:2::/48"),
		blocks("a reserved address", "192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4", "2001::/23"),
	)
	global = netip.MustParsePrefix("2000::/3")
	nat64  = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
)

// CheckAddr returns an [*AddressError] if the rules do not allow a connection to
// a. An IPv6 address that carries an IPv4 address (mapped, compatible,
// translated, NAT64, 6to4, ISATAP) is judged by that one too.
func (r Rules) CheckAddr(a netip.Addr) error {
	if !a.IsValid() || a.Zone() != "" {
		return refuse("no plain address")
	}
	a = a.Unmap()
	if err := r.checkPlain(a); err != nil {
		return err
	}
	if inner, ok := embedded(a); ok {
		return r.checkPlain(inner)
	}
	return nil
}

func (r Rules) checkPlain(a netip.Addr) error {
	if what := find(never, a); what != "" {
		return refuse(what)
	}
	if what := find(private, a); what != "" {
		if r.Private {
			return nil
		}
		return refuse(what)
	}
	if a.Is6() && !global.Contains(a) && !nat64.Contains(a) {
		return refuse("a reserved address")
	}
	return nil
}

func find(list []block, a netip.Addr) string {
	for _, b := range list {
		if b.prefix.Contains(a) {
			return b.what
		}
	}
	return ""
}

// embedded returns the IPv4 address inside an IPv6 address that is otherwise
// global. The other forms (::/96, ::ffff:0:0:0/96, 64:ff9b:1::/48) are outside of
// what is global and need no look inside.
func embedded(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() {
		return a, false
	}
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return v4(b[12:]), true
	case b[0] == 0x20 && b[1] == 0x02: // 6to4, RFC 3056
		return v4(b[2:]), true
	case binary.BigEndian.Uint32(b[8:])&^(1<<25) == 0x5efe: // ISATAP, RFC 5214, 6.1
		return v4(b[12:]), true
	}
	return a, false
}

func v4(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b[:4])) }
