package memcachedbackend

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/bits"
	"net"
	"strconv"
	"strings"

	"github.com/bradfitz/gomemcache/memcache"
)

// ring shares keys out as cachekit-py does (pymemcache's HashClient with
// RendezvousHash), so that both look for a key on the same server.
type ring struct {
	servers []*server
}

var _ memcache.ServerSelector = (*ring)(nil)

// PickServer returns the server with the highest murmur3 of "host:port-key";
// of two equal ones, the one whose name sorts last.
func (r *ring) PickServer(key string) (net.Addr, error) {
	if len(r.servers) == 1 {
		return r.servers[0], nil
	}
	var best *server
	var high uint32
	var text [512]byte
	for _, s := range r.servers {
		score := murmur3(append(append(append(text[:0], s.name...), '-'), key...))
		if best == nil || score > high || score == high && s.name > best.name {
			best, high = s, score
		}
	}
	return best, nil
}

// Each calls f for every server, in the order of the list.
func (r *ring) Each(f func(net.Addr) error) error {
	for _, s := range r.servers {
		if err := f(s); err != nil {
			return err
		}
	}
	return nil
}

// murmur3 is MurmurHash3_x86_32 with seed 0 (Austin Appleby, public domain).
func murmur3(p []byte) uint32 {
	const c1, c2 = 0xcc9e2d51, 0x1b873593
	n := uint32(len(p))
	var h uint32
	mix := func(k uint32) uint32 { return bits.RotateLeft32(k*c1, 15) * c2 }
	for ; len(p) >= 4; p = p[4:] {
		h = bits.RotateLeft32(h^mix(binary.LittleEndian.Uint32(p)), 13)*5 + 0xe6546b64
	}
	var tail [4]byte
	copy(tail[:], p)
	h ^= mix(binary.LittleEndian.Uint32(tail[:])) ^ n
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}

// parseServers reads "host:port,host:port", or the JSON array that cachekit-py
// wants in the same variable, and returns the names that it hashes.
func parseServers(list string) ([]string, error) {
	entries := strings.Split(list, ",")
	if trimmed := strings.TrimSpace(list); strings.HasPrefix(trimmed, "[") && strings.HasSuffix(trimmed, "]") {
		entries = nil
		if json.Unmarshal([]byte(trimmed), &entries) != nil {
			return nil, &ConfigError{`the list of servers is neither "host:port,host:port" nor a JSON array of such strings`}
		}
	}
	if len(entries) == 0 || len(entries) == 1 && strings.TrimSpace(entries[0]) == "" {
		return nil, &ConfigError{"the list of servers is empty"}
	}
	names := make([]string, len(entries))
	seen := map[string]bool{}
	for i, entry := range entries {
		name, reason := parseServer(strings.TrimSpace(entry))
		if reason == "" && seen[name] {
			reason = "is in the list twice"
		}
		if reason != "" {
			return nil, &ConfigError{fmt.Sprintf("server %d of %d %s", i+1, len(entries), reason)}
		}
		seen[name], names[i] = true, name
	}
	return names, nil
}

func parseServer(entry string) (name, reason string) {
	if entry == "" {
		return "", "is empty"
	}
	if strings.ContainsAny(entry, "/@") {
		return "", "is not host:port: no scheme, path or credentials"
	}
	host, port, err := net.SplitHostPort(entry)
	if err != nil || host == "" {
		return "", "is not host:port (an IPv6 address stands in brackets)"
	}
	for i := range len(host) {
		if host[i] <= ' ' || host[i] >= 0x7f {
			return "", "has a host name that is not printable ASCII"
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", "has a port that is not a number from 1 to 65535"
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), ""
}
