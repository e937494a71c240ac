package testvectors

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"github.com/cachekit-io/cachekit-go/internal/envelope"
	"github.com/cachekit-io/cachekit-go/internal/secret"
	"github.com/cachekit-io/cachekit-go/keys"
)

func ringOf(current string, previous []string) (*keys.Keyring, error) {
	k, err := keys.Hex(current)
	if err != nil {
		return nil, err
	}
	var more []keys.MasterKey
	for _, text := range previous {
		p, err := keys.Hex(text)
		if err != nil {
			return nil, err
		}
		more = append(more, p)
	}
	return keys.NewKeyring(k, more...)
}

var domains = map[string]keys.Domain{
	"encryption": keys.DomainEncryption, "authentication": keys.DomainAuthentication, "cache_keys": keys.DomainCacheKeys,
}

func checkDerivation(c struct {
	header
	MasterKey   string   `json:"master_key_hex"`
	Domain      string   `json:"domain"`
	Tenant      string   `json:"tenant"`
	Key         hexBytes `json:"key_hex"`
	Fingerprint string   `json:"fingerprint_hex"`
}) error {
	ring, err := ringOf(c.MasterKey, nil)
	if err != nil {
		return err
	}
	derived, err := ring.Derive(secret.NewGrant(), domains[c.Domain], c.Tenant)
	if err != nil {
		return err
	}
	if got := derived[0].Fingerprint.String(); got != c.Fingerprint {
		return fmt.Errorf("fingerprint is %s, want %s", got, c.Fingerprint)
	}
	return same("key", derived[0].Bytes.Reveal(), c.Key)
}

func checkFingerprint(c struct {
	header
	MasterKey   string `json:"master_key_hex"`
	Tenant      string `json:"tenant"`
	Fingerprint string `json:"fingerprint_hex"`
}) error {
	k, err := keys.Hex(c.MasterKey)
	if err != nil {
		return err
	}
	got, err := k.Fingerprint(c.Tenant)
	if err != nil || got.String() != c.Fingerprint {
		return fmt.Errorf("fingerprint is %s (%v), want %s", got, err, c.Fingerprint)
	}
	return nil
}

// verdict compares an error with what a case says of it.
func verdict(err error, want string, classes map[string]error) error {
	if want == "accept" {
		return err
	}
	return classified(err, want, classes)
}

func checkMasterKey(c struct {
	header
	Hex     string `json:"hex"`
	Verdict string `json:"verdict"`
}) error {
	_, err := keys.Hex(c.Hex)
	return verdict(err, c.Verdict, map[string]error{"short": keys.ErrShortKey, "not_hex": keys.ErrNotHex})
}

func checkRawKey(c struct {
	header
	Raw     hexBytes `json:"raw_hex"`
	Verdict string   `json:"verdict"`
}) error {
	_, err := keys.Raw(c.Raw)
	return verdict(err, c.Verdict, map[string]error{"length": keys.ErrRawLength})
}

func checkKeyring(c struct {
	header
	Current  string   `json:"current_hex"`
	Previous []string `json:"previous_hex"`
	Verdict  string   `json:"verdict"`
}) error {
	_, err := ringOf(c.Current, c.Previous)
	return verdict(err, c.Verdict, map[string]error{
		"too_many": keys.ErrTooManyKeys, "current_repeated": keys.ErrCurrentRepeated, "repeated": keys.ErrKeyRepeated,
	})
}

func checkAAD(c struct {
	header
	Tenant     string   `json:"tenant"`
	Key        string   `json:"key"`
	Compressed bool     `json:"compressed"`
	AAD        hexBytes `json:"aad_hex"`
}) error {
	return same("aad", envelope.AAD(c.Tenant, c.Key, c.Compressed), c.AAD)
}

type sealedCase struct {
	header
	Current    string   `json:"current_hex"`
	Previous   []string `json:"previous_hex"`
	Tenant     string   `json:"tenant"`
	Key        string   `json:"key"`
	Compressed bool     `json:"compressed"`
	Sealed     hexBytes `json:"sealed_hex"`
	Plaintext  hexBytes `json:"plaintext_hex"`
}

func (c sealedCase) open() ([]byte, error) {
	ring, err := ringOf(c.Current, c.Previous)
	if err != nil {
		return nil, err
	}
	box, err := envelope.New(ring, envelope.Config{Tenant: c.Tenant, Compressed: c.Compressed})
	if err != nil {
		return nil, err
	}
	doc, _, err := box.Open(nil, envelope.Receive(c.Key, c.Sealed))
	return doc, err
}

func checkOpen(c sealedCase) error {
	doc, err := c.open()
	if err != nil {
		return err
	}
	return same("plaintext", doc, c.Plaintext)
}

func checkRefuse(c sealedCase) error {
	_, err := c.open()
	return classified(err, "auth", map[string]error{"auth": envelope.ErrAuth})
}

// plainGCM opens sealed bytes under any AAD with a tenant's derived key.
func plainGCM(masterKey, tenant string, aad, sealed []byte) ([]byte, error) {
	ring, err := ringOf(masterKey, nil)
	if err != nil {
		return nil, err
	}
	derived, err := ring.Derive(secret.NewGrant(), keys.DomainEncryption, tenant)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived[0].Bytes.Reveal())
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	doc, err := gcm.Open(nil, nil, sealed, aad)
	if err != nil {
		return nil, errDoesNotOpen
	}
	return doc, nil
}

var errDoesNotOpen = errors.New("it does not open under the AAD given")

// checkForeign proves that the bytes are what they are said to be, with plain
// AES-GCM, and that this module opens them in none of its modes.
func checkForeign(c struct {
	header
	MasterKey string   `json:"master_key_hex"`
	Tenant    string   `json:"tenant"`
	Key       string   `json:"key"`
	AAD       hexBytes `json:"aad_hex"`
	Sealed    hexBytes `json:"sealed_hex"`
	Plaintext hexBytes `json:"plaintext_hex"`
}) error {
	doc, err := plainGCM(c.MasterKey, c.Tenant, c.AAD, c.Sealed)
	if err != nil {
		return err
	}
	if err := same("plaintext", doc, c.Plaintext); err != nil {
		return err
	}
	for _, compressed := range []bool{false, true} {
		ours := sealedCase{Current: c.MasterKey, Tenant: c.Tenant, Key: c.Key, Compressed: compressed, Sealed: c.Sealed}
		if err := checkRefuse(ours); err != nil {
			return err
		}
	}
	return nil
}

func checkAADRefused(c struct {
	header
	MasterKey string   `json:"master_key_hex"`
	Tenant    string   `json:"tenant"`
	AAD       hexBytes `json:"aad_hex"`
	Sealed    hexBytes `json:"sealed_hex"`
}) error {
	_, err := plainGCM(c.MasterKey, c.Tenant, c.AAD, c.Sealed)
	return classified(err, "auth", map[string]error{"auth": errDoesNotOpen})
}
