package filebackend

import (
	"encoding/hex"
	"hash"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/blake2b"
)

// Names with a leading dot are no entries to any SDK of the family, and only
// names with ".tmp." are temporary files to their sweeps.
const (
	lockName   = ".cachekit-go.lock"
	lockPrefix = ".lock-"
	tempInfix  = ".tmp."
	nameLength = 32
)

// namer hashes keys without allocating.
type namer struct {
	hash hash.Hash
	buf  []byte
}

var namers = sync.Pool{New: func() any {
	h, err := blake2b.New(nameLength/2, nil)
	if err != nil {
		panic("filebackend: blake2b refused a 16-byte digest: " + err.Error())
	}
	return &namer{hash: h}
}}

// fileName is the name of the file of key: BLAKE2b-128 in lower-case hex
// (spec/file-backend-format.md, "File name").
func fileName(key string) string {
	n := namers.Get().(*namer)
	defer namers.Put(n)
	n.hash.Reset()
	n.buf = append(n.buf[:0], key...)
	n.hash.Write(n.buf)
	n.buf = n.hash.Sum(n.buf[:0])
	n.buf = hex.AppendEncode(n.buf, n.buf)
	return string(n.buf[nameLength/2:])
}

// isEntryName reports whether name is one that fileName makes.
func isEntryName(name string) bool {
	if len(name) != nameLength {
		return false
	}
	for i := range len(name) {
		if c := name[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// tempName makes a name that no other write uses, in the family's form
// "<name>.tmp.<process>.<unique>", so that sister SDKs clean it up too.
func (b *Backend) tempName(name string) string {
	buf := make([]byte, 0, nameLength+len(tempInfix)+10+1+16)
	buf = append(buf, name...)
	buf = append(buf, tempInfix...)
	buf = strconv.AppendInt(buf, int64(b.pid), 10)
	buf = append(buf, '.')
	return string(strconv.AppendUint(buf, b.temps.Add(1), 16))
}

// isTempName reports whether name is a temporary file of this package or of a
// sister SDK.
func isTempName(name string) bool {
	return len(name) > nameLength && isEntryName(name[:nameLength]) && strings.HasPrefix(name[nameLength:], tempInfix)
}

// isLockName reports whether name is the file of a lock, and of which entry.
func isLockName(name string) (entry string, ok bool) {
	entry, ok = strings.CutPrefix(name, lockPrefix)
	return entry, ok && isEntryName(entry)
}
