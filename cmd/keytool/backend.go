package main

import (
	"bufio"
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/codec/interop"
	"github.com/cachekit-io/cachekit-go/internal/store"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

// openBackend opens the storage that the environment selects, as a program
// would, or the DynamoDB table that it names. The environment is the only way to
// name it: URLs hold passwords.
func openBackend(ctx context.Context) (backends.Backend, error) {
	if table, err := dynamoTable(); err != nil || table != "" {
		if err != nil {
			return nil, err
		}
		return openDynamo(ctx, table)
	}
	b, err := secure.OpenBackend(ctx)
	return b, remote(err)
}

// remote gives an error of the storage the exit code that belongs to it.
func remote(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, secure.ErrConfig) {
		return &failure{codeUsage, err}
	}
	return &failure{codeBackend, err}
}

// entryFlags say which entries a command is about, and how they are sealed.
type entryFlags struct {
	tenant   string
	tenantOf []string
	prefix   string
	v2       bool
	keysFrom string
}

func (f *entryFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.tenant, "tenant", "", "`tenant` of the entries (default \"default\", unless --tenant-of is given)")
	c.Flags().StringArrayVar(&f.tenantOf, "tenant-of", nil, "`NAMESPACE=TENANT` of the entries of a namespace; may be given several times")
	c.Flags().StringVar(&f.prefix, "prefix", "", "only storage keys that begin with this `text`, such as \"users:\"")
	c.Flags().BoolVar(&f.v2, "interop-v2", false, "the entries are interop/v2 (compressed); never guessed")
	c.Flags().StringVar(&f.keysFrom, "keys-from", "", "`file` with the storage keys, one a line, - for standard input (default: the storage lists them)")
}

// tenants returns the tenant of a storage key.
func (f *entryFlags) tenants() (func(key string) (string, bool), error) {
	of := map[string]string{}
	for _, text := range f.tenantOf {
		namespace, tenant, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fail(codeUsage, "--tenant-of takes NAMESPACE=TENANT")
		}
		if err := errors.Join(interop.CheckNamespace(namespace), keys.CheckTenant(tenant)); err != nil {
			return nil, fail(codeUsage, "--tenant-of: %w", err)
		}
		of[namespace] = tenant
	}
	fallback := f.tenant
	if fallback == "" && len(of) == 0 {
		fallback = keys.DefaultTenant
	}
	if fallback != "" {
		if err := keys.CheckTenant(fallback); err != nil {
			return nil, fail(codeUsage, "--tenant: %w", err)
		}
	}
	return func(key string) (string, bool) {
		namespace, _, _ := strings.Cut(key, ":")
		if tenant, ok := of[namespace]; ok {
			return tenant, true
		}
		return fallback, fallback != ""
	}, nil
}

// list returns the keys of --keys-from, nil without it.
func (a *app) list(f entryFlags) (func(func(string) bool) error, error) {
	if f.keysFrom == "" {
		return nil, nil
	}
	in, err := a.open(f.keysFrom)
	if err != nil {
		return nil, err
	}
	return func(yield func(string) bool) error {
		defer in.Close()
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			if key := lines.Text(); strings.HasPrefix(key, f.prefix) && key != "" && !yield(key) {
				return nil
			}
		}
		if err := lines.Err(); err != nil {
			return fail(codeUsage, "--keys-from: %w", err)
		}
		return nil
	}, nil
}

// openStore is openBackend for commands that handle sealed entries.
func openStore(ctx context.Context) (*store.Store, error) {
	b, err := openBackend(ctx)
	if err != nil {
		return nil, err
	}
	return store.New(b), nil
}
