package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/codec"
	"github.com/cachekit-io/cachekit-go/codec/container"
	"github.com/cachekit-io/cachekit-go/codec/interop"
	"github.com/cachekit-io/cachekit-go/internal/envelope"
	"github.com/cachekit-io/cachekit-go/internal/rekey"
	"github.com/cachekit-io/cachekit-go/internal/store"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

// inspected is the result of inspect.
type inspected struct {
	Found         bool   `json:"found"`
	Authentic     bool   `json:"authentic"`
	Tenant        string `json:"tenant"`
	InteropV2     bool   `json:"interop_v2"`
	StoredBytes   int    `json:"stored_bytes,omitempty"`
	DocumentBytes int    `json:"document_bytes,omitempty"`
	Fingerprint   string `json:"fingerprint,omitempty"`
	Role          string `json:"role,omitempty"`
	// TTL is what is left, in seconds; absent if the storage cannot tell.
	TTL      *float64 `json:"ttl_seconds,omitempty"`
	NoExpiry bool     `json:"no_expiry,omitempty"`
	Guess    string   `json:"guess,omitempty"`
	Malform  string   `json:"malformed,omitempty"`
	// Value is absent without --value. What JSON cannot hold is text in Go's
	// notation.
	Value json.RawMessage `json:"value,omitempty"`
}

// inspectFlags are the flags of inspect.
type inspectFlags struct {
	keys            keyFlags
	namespace       string
	tenant          string
	names           string
	v2, exact, show bool
}

func (a *app) inspect() *cobra.Command {
	var f inspectFlags
	c := &cobra.Command{
		Use:   "inspect KEY",
		Short: "Show how one entry is stored",
		Long: text(`
			inspect reads one entry from the storage that the environment selects and shows
			its size, the key that opens it and the time it has left. Tenant and mode are what
			the flags say; nothing is tried out. The value is shown only with --value.

			KEY is what the program uses, or - to read it from standard input; --storage-key
			takes it as the storage sees it. It ends with 1 if there is no such entry or it
			does not authenticate.`),
		Example: text(`
			keytool inspect --namespace users 42
			keytool inspect --tenant acme --storage-key accounts:get_user:61598716255080080f6456eb`),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key := args[0]
			if key == "-" {
				var err error
				if key, err = a.readSecret("-"); err != nil {
					return err
				}
			}
			return a.inspectKey(cmd.Context(), f, key)
		},
	}
	f.keys.add(c)
	c.Flags().StringVar(&f.namespace, "namespace", "", "`namespace` of the cache that wrote the entry")
	c.Flags().StringVar(&f.tenant, "tenant", keys.DefaultTenant, "`tenant` of the entry")
	c.Flags().StringVar(&f.names, "name-secret-file", "", "`file` with the secret that hides key names, - for standard input")
	c.Flags().BoolVar(&f.v2, "interop-v2", false, "the entry is interop/v2 (compressed)")
	c.Flags().BoolVar(&f.exact, "storage-key", false, "KEY is the storage key itself, namespace and all")
	c.Flags().BoolVar(&f.show, "value", false, "print the value too")
	c.MarkFlagsMutuallyExclusive("storage-key", "namespace")
	c.MarkFlagsMutuallyExclusive("storage-key", "name-secret-file")
	return c
}

// storageKey applies the rules of package secure to a program's key.
func (a *app) storageKey(f inspectFlags, key string) (string, error) {
	if f.exact {
		return key, nil
	}
	prefix := ""
	if f.namespace != "" {
		if err := interop.CheckNamespace(f.namespace); err != nil {
			return "", fail(codeUsage, "--namespace: %w", err)
		}
		prefix = f.namespace + ":"
	}
	if f.names == "" {
		return prefix + key, nil
	}
	text, err := a.readSecret(f.names)
	if err != nil {
		return "", err
	}
	secret, err := keys.ParseNameSecret(text)
	if err != nil {
		return "", fail(codeUsage, "%s: %w", secretName(f.names), err)
	}
	return prefix + secret.Hide(prefix+key), nil
}

func (a *app) inspectKey(ctx context.Context, f inspectFlags, key string) error {
	name, err := a.storageKey(f, key)
	if err != nil {
		return err
	}
	ring, err := a.keyring(ctx, f.keys)
	if err != nil {
		return err
	}
	box, err := envelope.New(ring, envelope.Config{Tenant: f.tenant, Compressed: f.v2})
	if err != nil {
		return fail(codeUsage, "--tenant: %w", err)
	}
	s, err := openStore(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.CheckKey(name); err != nil {
		return fail(codeUsage, "%w", err)
	}
	got, found, err := s.Get(ctx, name, true)
	if err != nil {
		return remote(err)
	}
	out := inspected{Found: found, Tenant: f.tenant, InteropV2: f.v2}
	if found {
		out.open(box, ring, got, f.show)
	}
	if err := a.print(out, out.lines()...); err != nil {
		return err
	}
	if !out.Authentic || out.Malform != "" {
		return verdict(codeVerdict)
	}
	return nil
}

// open fills in what can be said of an entry that is there.
func (i *inspected) open(box *envelope.Box, ring *keys.Keyring, got store.Fetched, show bool) {
	i.StoredBytes = got.Received.Len()
	switch seconds := got.TTL.Seconds(); got.TTL {
	case 0:
	case backends.NoExpiry:
		i.NoExpiry = true
	default:
		i.TTL = &seconds
	}
	doc, _, place, err := box.OpenAt(nil, got.Received)
	if err != nil {
		i.Guess = rekey.Guess(got.Received)
		return
	}
	prints, err := ring.Fingerprints(i.Tenant)
	if err != nil {
		return // the box was made for this tenant
	}
	i.Authentic, i.DocumentBytes, i.Role, i.Fingerprint = true, len(doc), role(place), prints[place].String()
	if i.InteropV2 {
		if doc, err = container.OpenV2(nil, doc, secure.DefaultMaxValueBytes); err != nil {
			i.Malform = err.Error()
			return
		}
		i.DocumentBytes = len(doc)
	}
	var value any
	if err := codec.Unmarshal(doc, &value); err != nil {
		i.Malform = err.Error()
		return
	}
	if show {
		i.Value = printable(value)
	}
}

func (i inspected) lines() []string {
	if !i.Found {
		return []string{"no entry"}
	}
	lines := []string{fmt.Sprintf("stored      %d bytes", i.StoredBytes)}
	switch {
	case i.NoExpiry:
		lines = append(lines, "expires     never")
	case i.TTL != nil:
		lines = append(lines, "expires in  "+time.Duration(*i.TTL*float64(time.Second)).Round(time.Second).String())
	}
	if !i.Authentic {
		return append(lines, fmt.Sprintf("opens       under no key of the keyring (tenant %s); perhaps %s", i.Tenant, i.Guess))
	}
	lines = append(lines, fmt.Sprintf("opens       under %s (%s, tenant %s)", i.Fingerprint, i.Role, i.Tenant),
		fmt.Sprintf("document    %d bytes", i.DocumentBytes))
	if i.Malform != "" {
		lines = append(lines, "malformed   "+i.Malform)
	}
	if i.Value != nil {
		lines = append(lines, "value       "+string(i.Value))
	}
	return lines
}

// printable returns a value as JSON. Go's notation, which stands in for what JSON
// cannot hold, becomes a string, so that nothing in it reaches a terminal raw.
func printable(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		b, _ = json.Marshal(fmt.Sprintf("%#v", v))
	}
	return b
}
