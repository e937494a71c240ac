package keyfile_test

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/tink-crypto/tink-go/v2/testing/fakekms"

	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

// What SECURITY.md says of who can make a file that opens: each row is a forger
// and what he knows.
func TestWhoCanMakeAFile(t *testing.T) {
	ops := identity(t)
	uri := must(fakekms.NewKeyURI())(t)
	kms := must(keyfile.KMS(must(fakekms.NewClient(uri))(t), uri))(t)
	phraseOf := func(text string) *keyfile.Protection { return must(keyfile.QuickPassphrase(text))(t) }
	foreign := must(newDoc(t).Plain("kms", 7))(t)
	for _, c := range []struct {
		forger string
		asks   *keyfile.Protection
		file   []byte
		opens  bool
	}{
		{"passphrase: who knows it", phraseOf(phrase), bytesOf(t, phraseOf(phrase)), true},
		{"passphrase: anybody else", phraseOf(phrase), bytesOf(t, phraseOf(phrase+"x")), false},
		{"age: who knows a recipient and no identity", ageOf(t, ops), bytesOf(t, must(keyfile.Age(nil, ops.Recipient().String()))(t)), true},
		{"age: who knows another recipient", ageOf(t, ops), bytesOf(t, must(keyfile.Age(nil, identity(t).Recipient().String()))(t)), false},
		{"kms: who may encrypt", kms, bytesOf(t, kms), true},
		{"kms: who may decrypt, and has a file", kms, underTheSameDataKey(t, uri, bytesOf(t, kms), foreign), true},
		{"kms: who may do it with another key", kms, bytesOf(t, fakeKMS(t)), false},
		{"cleartext: anybody", keyfile.Cleartext(), bytesOf(t, keyfile.Cleartext()), true},
	} {
		d, err := c.asks.Open(c.file)
		if (err == nil) != c.opens || (d != nil) != c.opens || err != nil && !errors.Is(err, keyfile.ErrProtection) {
			t.Errorf("%s: opens %t, want %t (%v)", c.forger, err == nil, c.opens, err)
		}
	}
}

func bytesOf(t *testing.T, p *keyfile.Protection) []byte {
	t.Helper()
	return must(newDoc(t).Bytes(p, 7))(t)
}

// underTheSameDataKey has the KMS decrypt the data key of a file, and seals
// another document under it.
func underTheSameDataKey(t *testing.T, uri string, file, document []byte) []byte {
	t.Helper()
	sealed := sealedIn(t, file)
	wrapped := sealed[:4+binary.BigEndian.Uint32(sealed)]
	kek := must(must(fakekms.NewClient(uri))(t).GetAEAD(uri))(t)
	proto := must(kek.Decrypt(wrapped[4:], nil))(t) // an AesGcmKey: field 3 is the key
	if n := len(proto) - 34; n < 0 || proto[n] != 0x1a || proto[n+1] != 32 {
		t.Fatalf("the data key is a message of %d bytes", len(proto))
	}
	key := proto[len(proto)-32:]
	gcm := must(cipher.NewGCM(must(aes.NewCipher(key))(t)))(t)
	nonce := make([]byte, gcm.NonceSize())
	sealed = append(wrapped[:len(wrapped):len(wrapped)], nonce...)
	return rewrap(t, file, gcm.Seal(sealed, nonce, document, []byte("cachekit-keyring/1/kms/"+uri)))
}
