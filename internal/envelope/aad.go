package envelope

import "encoding/binary"

// Constants of AAD v3 (spec/encryption.md, "AAD v0x03 Format"; the tokens are
// frozen bytes under "format tokens" and "compressed tokens").
const (
	aadVersion         = 0x03
	formatToken        = "msgpack"
	compressedToken    = "True"
	notCompressedToken = "False"
)

// aad builds the additional data of one tenant: the parts around the storage
// key never change.
type aad struct {
	head, tail []byte
}

func newAAD(tenant string, compressed bool) aad {
	token := notCompressedToken
	if compressed {
		token = compressedToken
	}
	return aad{
		head: appendComponent([]byte{aadVersion}, tenant),
		tail: appendComponent(appendComponent(nil, formatToken), token),
	}
}

// append appends the additional data for storage key to dst.
func (a aad) append(dst []byte, key string) []byte {
	dst = append(dst, a.head...)
	dst = appendComponent(dst, key)
	return append(dst, a.tail...)
}

// size is the length of the additional data for storage key.
func (a aad) size(key string) int { return len(a.head) + 4 + len(key) + len(a.tail) }

func appendComponent(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}

// AAD returns the additional data that binds an entry to its tenant, storage
// key and mode. It is for checking vectors; Box builds its own.
func AAD(tenant, key string, compressed bool) []byte {
	return newAAD(tenant, compressed).append(nil, key)
}
