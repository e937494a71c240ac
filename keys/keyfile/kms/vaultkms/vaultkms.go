// Package vaultkms protects keyring files with a key of the transit engine of
// HashiCorp Vault or OpenBao.
package vaultkms

import (
	"context"
	"errors"
	"net"
	"net/url"

	"github.com/hashicorp/vault/api"
	"github.com/tink-crypto/tink-go-hcvault/v2/integration/hcvault"

	"github.com/cachekit-io/cachekit-go/keys/keyfile"
	"github.com/cachekit-io/cachekit-go/keys/keyfile/internal/kmserr"
)

var (
	errURI     = errors.New("want hcvault://HOST:PORT/transit/keys/NAME without credentials, query or fragment")
	errPlain   = errors.New("VAULT_ADDR names the same server without TLS: http is accepted on loopback only")
	errNoToken = errors.New("VAULT_TOKEN is not set")
)

// Open returns the protection under the key that keyURI names:
// hcvault://HOST:PORT/transit/keys/NAME, a key without derivation. The server is
// reached over https; if VAULT_ADDR names the same loopback HOST:PORT with http,
// over that. VAULT_TOKEN is the token, and the other VAULT_ variables (CA,
// namespace, client certificate) apply. A program that serves needs update on
// transit/decrypt/NAME alone. The error is keyfile.ErrKMS.
func Open(_ context.Context, keyURI string) (*keyfile.Protection, error) {
	client, err := client(keyURI)
	if err != nil {
		return nil, kmserr.New(keyfile.ErrKMS, err)
	}
	tink, err := hcvault.NewClientWithAEADOptions(keyURI, client.Logical())
	if err != nil {
		return nil, kmserr.New(keyfile.ErrKMS, err)
	}
	return keyfile.KMS(tink, keyURI)
}

func client(keyURI string) (*api.Client, error) {
	u, err := url.Parse(keyURI)
	if err != nil || u.Scheme != "hcvault" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errURI
	}
	cfg := api.DefaultConfig() // reads the environment
	if cfg.Error != nil {
		return nil, cfg.Error
	}
	address := url.URL{Scheme: "https", Host: u.Host}
	if env, err := url.Parse(cfg.Address); err == nil && env.Scheme == "http" && env.Host == u.Host {
		if address.Scheme = env.Scheme; !loopback(u.Hostname()) {
			return nil, errPlain
		}
	}
	cfg.Address = address.String()
	c, err := api.NewClient(cfg)
	if err != nil {
		return nil, err
	}
	if c.Token() == "" {
		return nil, errNoToken
	}
	return c, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
