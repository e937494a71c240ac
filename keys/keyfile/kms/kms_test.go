package kms_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
	"github.com/cachekit-io/cachekit-go/keys/keyfile/kms"
)

func document(t *testing.T) *keyfile.Document {
	t.Helper()
	ring, err := keys.NewKeyring(keys.Generate())
	if err != nil {
		t.Fatal(err)
	}
	d, err := keyfile.NewDocument(ring, "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func protection(t *testing.T, uri string) *keyfile.Protection {
	t.Helper()
	p, err := kms.Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lifeOfAFile creates, updates and follows a file under uri and returns its path.
func lifeOfAFile(t *testing.T, uri string) string {
	t.Helper()
	p, path := protection(t, uri), filepath.Join(t.TempDir(), "ring")
	if err := keyfile.Create(t.Context(), path, p, document(t)); err != nil {
		t.Fatal(err)
	}
	source := keyfile.Open(path, p, nil)
	if _, err := source.Keyring(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := keyfile.Update(t.Context(), path, p, func(d *keyfile.Document) error {
		_, err := d.Stage(keys.Generate(), "", time.Now())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if ring, err := source.Keyring(t.Context()); err != nil || ring.Len() != 2 {
		t.Fatalf("the source: %v", err)
	}
	if kind, got, err := keyfile.Probe(path, nil); kind != "kms" || got != uri || err != nil {
		t.Errorf("probe: %q, %q, %v", kind, got, err)
	}
	return path
}

// moto starts a KMS of AWS and points the SDK's default configuration at it.
func moto(t *testing.T) *awskms.Client {
	t.Helper()
	endpoint := testenv.AWS(t)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_KMS": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("eu-west-1"))
	if err != nil {
		t.Fatal(err)
	}
	return awskms.NewFromConfig(cfg)
}

func newKey(t *testing.T, client *awskms.Client) (id, uri string) {
	t.Helper()
	out, err := client.CreateKey(t.Context(), &awskms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	return *out.KeyMetadata.KeyId, "aws-kms://" + *out.KeyMetadata.Arn
}

// A third party's server plays AWS KMS.
func TestAWS(t *testing.T) {
	client := moto(t)
	id, uri := newKey(t, client)
	_, otherURI := newKey(t, client)
	path := lifeOfAFile(t, uri)

	if _, err := keyfile.Read(t.Context(), path, protection(t, otherURI), nil); !errors.Is(err, keyfile.ErrProtection) {
		t.Errorf("another key of the same KMS: %v", err)
	}
	// Rule: the URI in a file is no hint; a forged one does not open.
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	forged := filepath.Join(t.TempDir(), "forged")
	if err := os.WriteFile(forged, bytes.Replace(file, []byte(uri), []byte(otherURI), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keyfile.Read(t.Context(), forged, protection(t, otherURI), nil); !errors.Is(err, keyfile.ErrKMS) && !errors.Is(err, keyfile.ErrProtection) {
		t.Errorf("a forged key URI: %v", err)
	}
	// moto forgets all keys, as after a deletion.
	resp, err := http.Post(os.Getenv("AWS_ENDPOINT_URL_KMS")+"/moto-api/reset", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	_, err = keyfile.Read(t.Context(), path, protection(t, uri), nil)
	var answer smithy.APIError
	if !errors.Is(err, keyfile.ErrKMS) || !errors.As(err, &answer) || !strings.Contains(err.Error(), answer.ErrorCode()) || strings.Contains(err.Error(), id) {
		t.Errorf("a key that is gone: %v", err)
	}
	t.Setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	if _, err := keyfile.Read(t.Context(), path, protection(t, uri), nil); !errors.Is(err, keyfile.ErrKMS) {
		t.Errorf("a KMS that is down: %v", err)
	}
}

// Rule: AWS's client takes the context of the call.
func TestAWSIsBoundedByTheContext(t *testing.T) {
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer slow.Close()
	defer close(release)
	t.Setenv("AWS_ENDPOINT_URL_KMS", slow.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	p := protection(t, "aws-kms://arn:aws:kms:eu-west-1:123456789012:key/1")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := keyfile.Create(ctx, filepath.Join(t.TempDir(), "ring"), p, document(t))
	if !errors.Is(err, keyfile.ErrKMS) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// transit plays the two calls of Vault's transit engine that are used.
func transit(t *testing.T) *httptest.Server {
	t.Helper()
	aead := map[string]cipher.AEAD{}
	for _, name := range []string{"ring", "other"} {
		var key [32]byte
		rand.Read(key[:])
		block, err := aes.NewCipher(key[:])
		if err != nil {
			t.Fatal(err)
		}
		if aead[name], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			t.Fatal(err)
		}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Plaintext  []byte
			Ciphertext string
		}
		parts := strings.Split(r.URL.Path, "/") // /v1/transit/encrypt/NAME
		if r.Header.Get("X-Vault-Token") != "s.token" || len(parts) != 5 || aead[parts[4]] == nil || json.NewDecoder(r.Body).Decode(&in) != nil {
			http.Error(w, `{"errors":["permission denied: hunter2"]}`, http.StatusForbidden)
			return
		}
		data := map[string]any{}
		switch parts[3] {
		case "encrypt":
			data["ciphertext"] = "vault:v1:" + base64.StdEncoding.EncodeToString(aead[parts[4]].Seal(nil, nil, in.Plaintext, nil))
		case "decrypt":
			sealed, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(in.Ciphertext, "vault:v1:"))
			plain, err := aead[parts[4]].Open(nil, nil, sealed, nil)
			if err != nil {
				http.Error(w, `{"errors":["cipher: message authentication failed"]}`, http.StatusBadRequest)
				return
			}
			data["plaintext"] = plain
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
	}))
	t.Cleanup(s.Close)
	return s
}

// No Vault can be installed everywhere; a server with its two calls shows that
// ours is wired to the client as its documentation asks.
func TestVault(t *testing.T) {
	s := transit(t)
	host := strings.TrimPrefix(s.URL, "http://")
	t.Setenv("VAULT_ADDR", s.URL)
	t.Setenv("VAULT_TOKEN", "s.token")
	uri := "hcvault://" + host + "/transit/keys/ring"
	path := lifeOfAFile(t, uri)
	if _, err := keyfile.Read(t.Context(), path, protection(t, "hcvault://"+host+"/transit/keys/other"), nil); !errors.Is(err, keyfile.ErrProtection) {
		t.Errorf("another key: %v", err)
	}
	t.Setenv("VAULT_TOKEN", "s.other")
	t.Setenv("VAULT_MAX_RETRIES", "0")
	if _, err := keyfile.Read(t.Context(), path, protection(t, uri), nil); !errors.Is(err, keyfile.ErrKMS) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("without permission: %v", err)
	}
	// Rule: without VAULT_ADDR's word, and beyond loopback always, it is https.
	t.Setenv("VAULT_ADDR", "")
	if _, err := keyfile.Read(t.Context(), path, protection(t, uri), nil); !errors.Is(err, keyfile.ErrKMS) {
		t.Errorf("https to a server without TLS: %v", err)
	}
	t.Setenv("VAULT_ADDR", "http://vault.example:8200")
	if _, err := kms.Open(t.Context(), "hcvault://vault.example:8200/transit/keys/ring"); !errors.Is(err, keyfile.ErrKMS) {
		t.Errorf("http beyond loopback: %v", err)
	}
	t.Setenv("VAULT_ADDR", "")
	t.Setenv("VAULT_TOKEN", "")
	t.Setenv("HOME", t.TempDir())
	if _, err := kms.Open(t.Context(), uri); !errors.Is(err, keyfile.ErrKMS) {
		t.Errorf("without a token: %v", err)
	}
}

func TestURIsThatAreRefused(t *testing.T) {
	t.Setenv("VAULT_TOKEN", "s.token")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none"))
	for _, uri := range []string{
		"", "arn:aws:kms:eu-west-1:123456789012:key/1", "azure-kv://vault/key", "AWS-KMS://arn",
		"aws-kms://nonsense", "aws-kms://", "hcvault://", "hcvault:///transit/keys/k", "hcvault://user:hunter2@host/transit/keys/k",
		"hcvault://host/transit/keys/k?x=1", "hcvault://host/nonsense", "gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k",
	} {
		p, err := kms.Open(t.Context(), uri)
		if !errors.Is(err, keyfile.ErrKMS) || p != nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", uri, err)
		}
	}
}
