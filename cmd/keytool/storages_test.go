//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/cachekit-io/cachekit-go/backends/dynamodbbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

// storage is one that the environment selects.
type storage struct {
	env []string
	// lists says whether it can enumerate its keys.
	lists bool
}

func dynamoStorage(t *testing.T) storage {
	url := testenv.DynamoDB(t).URL()
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	client := dynamodb.New(dynamodb.Options{
		Region: "eu-west-1", BaseEndpoint: aws.String(url), HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	if err := dynamodbbackend.EnsureTable(t.Context(), client, "entries", nil); err != nil {
		t.Fatal(err)
	}
	return storage{lists: true, env: []string{
		envDynamoTable + "=entries", "AWS_ENDPOINT_URL_DYNAMODB=" + url, "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=test",
		"AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
	}}
}

// set makes env the environment of the test itself.
func set(t *testing.T, env []string) {
	t.Helper()
	for _, line := range env {
		name, value, _ := strings.Cut(line, "=")
		t.Setenv(name, value)
	}
}

// cache is a program's over the storage of the environment.
func cache(t *testing.T, key string) *secure.Cache {
	t.Helper()
	b, err := openBackend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	k, err := keys.Hex(key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := secure.New(t.Context(), &secure.Options{Backend: b, MasterKey: k, Namespace: "users"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); b.Close() })
	return c
}

// A rotation on every storage that the environment can select and that compares
// and swaps: what is re-sealed keeps its value and its TTL.
func TestReencryptOnEveryStorage(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) storage{
		"dynamodb": dynamoStorage,
		"file": func(t *testing.T) storage {
			return storage{env: []string{"CACHEKIT_FILE_CACHE_DIR=" + filepath.Join(t.TempDir(), "cache")}}
		},
		"memcached": func(t *testing.T) storage {
			return storage{env: []string{"CACHEKIT_MEMCACHED_SERVERS=" + testenv.Memcached(t, nil).Addr()}}
		},
		"redis": func(t *testing.T) storage {
			return storage{env: []string{"CACHEKIT_REDIS_URL=" + testenv.Redis(t, nil).URL()}, lists: true}
		},
	} {
		t.Run(name, func(t *testing.T) { rotates(t, open(t)) })
	}
}

func rotates(t *testing.T, s storage) {
	const n = 30
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	set(t, s.env)
	old, dir, list := cache(t, a), t.TempDir(), ""
	for i := range n {
		ttl := time.Hour
		if i%10 == 0 {
			ttl = secure.NoExpiry
		}
		if err := old.SetTTL(t.Context(), fmt.Sprint(i), i, ttl); err != nil {
			t.Fatal(err)
		}
		list += fmt.Sprintf("users:%d\n", i)
	}
	if err := os.WriteFile(filepath.Join(dir, "keys"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(s.env, "CACHEKIT_MASTER_KEY="+b, "CACHEKIT_PREVIOUS_MASTER_KEYS="+a)
	walk := func(exit int, args ...string) walked {
		t.Helper()
		out, errs, got := tool(t, dir, env, append(args, "--json")...)
		var doc struct{ Result walked }
		if err := json.Unmarshal([]byte(out), &doc); err != nil || got != exit {
			t.Fatalf("%v ended with %d, want %d: %v\n%s%s", args, got, exit, err, out, errs)
		}
		return doc.Result
	}
	from := []string{"--keys-from", "keys"}
	if _, errs, exit := tool(t, dir, env, "audit"); s.lists != (exit == int(codeVerdict)) || !s.lists && (exit != int(codeUsage) || !strings.Contains(errs, "--keys-from")) {
		t.Errorf("audit of a storage that lists its keys (%t) ended with %d: %s", s.lists, exit, errs)
	}
	if s.lists {
		from = nil
	}
	if w := walk(int(codeVerdict), append([]string{"audit"}, from...)...); w.Left != n || w.NoExpiryOld == nil || *w.NoExpiryOld != 3 {
		t.Errorf("audit = %+v", w)
	}
	if w := walk(0, append([]string{"reencrypt"}, from...)...); w.Left != n || w.Resealed != 0 || !w.DryRun {
		t.Errorf("the dry run = %+v", w)
	}
	if w := walk(0, append([]string{"reencrypt", "--apply"}, from...)...); w.Resealed != n || w.Left != 0 || !w.Done {
		t.Errorf("reencrypt --apply = %+v", w)
	}
	env = append(s.env, "CACHEKIT_MASTER_KEY="+b)
	if w := walk(0, append([]string{"audit"}, from...)...); w.Seen != n || w.NoExpiry == nil || *w.NoExpiry != 3 {
		t.Errorf("audit with the new key alone = %+v", w)
	}
	var shown struct{ Result inspected }
	out := must(t, dir, env, "inspect", "--namespace", "users", "1", "--value", "--json")
	if err := json.Unmarshal([]byte(out), &shown); err != nil || string(shown.Result.Value) != "1" || shown.Result.TTL == nil ||
		*shown.Result.TTL < 3500 || *shown.Result.TTL > 3602 {
		t.Errorf("inspect: %v, %s", err, out)
	}
	var got int
	if found, err := cache(t, b).Get(context.Background(), "7", &got); !found || err != nil || got != 7 {
		t.Errorf("Get = %t, %v, %d", found, err, got)
	}
}

// A storage that cannot compare and swap: 2, and the way by TTL. It can be
// audited.
func TestReencryptWhereNothingSwaps(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]int{"reencrypt": 2, "reencrypt --apply": 2, "reencrypt --apply --json": 2, "audit": 0} {
		cmd := exec.Command(self, strings.Fields(line)...)
		cmd.Env = []string{"KEYTOOL_TEST_JOB=limited", "CACHEKIT_MASTER_KEY=" + strings.Repeat("b", 64)}
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if exit := exitOf(t, cmd.Run()); exit != want {
			t.Errorf("%s ended with %d, want %d: %s", line, exit, want, &errs)
		}
		for _, text := range []string{"longest TTL", "retire", "docs/key-rotation.md"} {
			if (want == 2) != strings.Contains(errs.String(), text) {
				t.Errorf("%s: %s", line, &errs)
			}
		}
	}
}

// Two storages at once are a mistake, whichever they are.
func TestOneStorage(t *testing.T) {
	for _, line := range []string{"CACHEKIT_REDIS_URL=redis://127.0.0.1:1", "CACHEKIT_FILE_CACHE_DIR=/tmp/x", envDynamoTable + "= "} {
		env := []string{"CACHEKIT_MASTER_KEY=" + strings.Repeat("b", 64), envDynamoTable + "=t", line}
		for _, command := range []string{"audit", "doctor"} {
			if out, errs, exit := tool(t, t.TempDir(), env, command); exit != int(codeUsage) || !strings.Contains(out+errs, envDynamoTable) {
				t.Errorf("%s with %s ended with %d: %s%s", command, line, exit, out, errs)
			}
		}
	}
}
