package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"time"

	"filippo.io/age"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/redis/go-redis/v9"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

// exits runs keytool with the arguments behind the wanted exit code, and fails
// if it ends in another one: "exits 2 generate -o taken".
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits CODE ARGUMENT...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("keytool", args[1:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("keytool ended with %d, want %d", got, want)
	}
}

// mode checks the permission bits of a file: "mode 0600 key".
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode OCTAL FILE")
	}
	info, err := os.Lstat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// fill stores entries as a program would: "fill KEY NAMESPACE N", with the key
// in hex, over the server in $REDIS. Every tenth entry has no expiry.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: fill KEY NAMESPACE N")
	}
	key, err := keys.Hex(args[0])
	ts.Check(err)
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	ctx := context.Background()
	b, err := redisbackend.Open(ctx, ts.Getenv("REDIS"), nil)
	ts.Check(err)
	defer b.Close()
	c, err := secure.New(ctx, &secure.Options{Backend: b, MasterKey: key, Namespace: args[1]})
	ts.Check(err)
	defer c.Close()
	for i := range n {
		ttl := time.Hour
		if i%10 == 0 {
			ttl = secure.NoExpiry
		}
		ts.Check(c.SetTTL(ctx, strconv.Itoa(i), map[string]any{"name": fmt.Sprint("user ", i)}, ttl))
	}
}

// plant stores bytes that no cache sealed: "plant STORAGEKEY TEXT".
func plant(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: plant STORAGEKEY TEXT")
	}
	opts, err := redis.ParseURL(ts.Getenv("REDIS"))
	ts.Check(err)
	client := redis.NewClient(opts)
	defer client.Close()
	ts.Check(client.Set(context.Background(), args[0], args[1], time.Hour).Err())
}

// agekey writes an age identity and sets RECIPIENT to what encrypts to it:
// "agekey ops.agekey".
func agekey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: agekey FILE")
	}
	id, err := age.GenerateX25519Identity()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(id.String()+"\n"), 0o600))
	ts.Setenv("RECIPIENT", id.Recipient().String())
}

// grab sets a variable to what the expression's group matches on standard
// output: "grab ID '([0-9a-f]{12})  staged'".
func grab(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: grab NAME EXPRESSION")
	}
	m := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) != 2 {
		ts.Fatalf("%s does not match the output", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// varying is what differs from run to run in a JSON document.
var varying = []struct {
	pattern *regexp.Regexp
	text    string
}{
	{regexp.MustCompile(`"[0-9a-f]{64}"`), `"<64 hex>"`},
	{regexp.MustCompile(`"[0-9a-f]{32}"`), `"<32 hex>"`},
	{regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"`), `"<time>"`},
	{regexp.MustCompile(`"(bytes|stored_bytes|ttl_seconds)": [0-9.]+`), `"$1": "<number>"`},
}

// shape writes the JSON document on standard output to a file, indented and
// without what varies: "shape got.json".
func shape(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: shape FILE")
	}
	var out bytes.Buffer
	ts.Check(json.Indent(&out, []byte(ts.ReadFile("stdout")), "", "  "))
	text := out.String()
	for _, v := range varying {
		text = v.pattern.ReplaceAllString(text, v.text)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// kek makes a key in the KMS of the environment and sets a variable to its URI:
// "kek KEK".
func kek(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: kek NAME")
	}
	client := kms.New(kms.Options{
		BaseEndpoint: aws.String(ts.Getenv("AWS_ENDPOINT_URL_KMS")), Region: ts.Getenv("AWS_REGION"),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	out, err := client.CreateKey(context.Background(), &kms.CreateKeyInput{})
	ts.Check(err)
	ts.Setenv(args[0], "aws-kms://"+*out.KeyMetadata.Arn)
}

// mounts reports whether this machine lets a test mount a file system of its own.
var mounts = sync.OnceValue(func() bool {
	return exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", os.TempDir()).Run() == nil
})
