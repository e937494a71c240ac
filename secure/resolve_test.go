package secure_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/backends/memorybackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

// Names of the chain's variables, and values that must never show.
const (
	apiKey, redisURL, memcached, fileDir = "CACHEKIT_API_KEY", "CACHEKIT_REDIS_URL", "CACHEKIT_MEMCACHED_SERVERS", "CACHEKIT_FILE_CACHE_DIR"
	plainURL, masterKey, previousKeys    = "REDIS_URL", "CACHEKIT_MASTER_KEY", "CACHEKIT_PREVIOUS_MASTER_KEYS"
	keyringFile                          = "CACHEKIT_KEYRING"

	canary   = "c0ffee"
	deadURL  = "redis://:hunter2@127.0.0.1:1"
	noServer = "127.0.0.1:1"
	oneKey   = canary + "0000000000000000000000000000000000000000000000000000000001"
	twoKey   = canary + "0000000000000000000000000000000000000000000000000000000002"
	threeKey = canary + "0000000000000000000000000000000000000000000000000000000003"
)

type env = map[string]string

// report is what the child process prints of a resolution.
type report struct {
	Backend, Keys secure.Choice
	BackendErr    string // in place of Choice.Err, which JSON cannot hold
	KeysErr       string
	Err           string // of Resolve
	Text          string
	NewErr        string
	NewIsConfig   bool
	Type          string // of the backend that New built
}

// The child reports on its own environment. In the test binary itself it does
// nothing.
func TestResolveChild(t *testing.T) {
	given, ok := os.LookupEnv("CACHEKIT_TEST_RESOLVE")
	if !ok {
		return
	}
	has := func(name string) bool { return slices.Contains(strings.Split(given, ","), name) }
	o := &secure.Options{L1Only: has("L1Only"), Plaintext: has("Plaintext")}
	if has("Backend") {
		o.Backend = memorybackend.New(nil)
	}
	if has("Default") {
		secure.SetDefaultBackend(newFake())
	}
	if has("MasterKey") || has("Keyring") {
		o.MasterKey = key(t, "1")
	}
	if has("Keyring") {
		ring, err := keys.NewKeyring(o.MasterKey)
		if err != nil {
			t.Fatal(err)
		}
		o.Keyring = ring
		if !has("MasterKey") {
			o.MasterKey = keys.MasterKey{}
		}
	}
	if o.Backend == nil && !o.L1Only && !o.Plaintext && o.Keyring == nil && o.MasterKey.IsZero() {
		o = nil
	}
	r, err := secure.Resolve(o)
	out := report{Backend: r.Backend, Keys: r.Keys, BackendErr: text(r.Backend.Err), KeysErr: text(r.Keys.Err), Err: text(err)}
	out.Backend.Err, out.Keys.Err = nil, nil
	out.Text = fmt.Sprintf("%v %+v %#v %s %s", r, r, r, r.Backend, r.Keys)
	c, err := secure.NewMinimal(t.Context(), o)
	if out.NewErr, out.NewIsConfig = text(err), errors.Is(err, secure.ErrConfig); err == nil {
		out.Type = c.Health(t.Context()).BackendType
		c.Close()
	}
	line, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("report %s\n", line)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// resolveIn runs the child with exactly this environment.
func resolveIn(t *testing.T, vars env, given string) report {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestResolveChild$", "-test.count=1")
	cmd.Env = []string{"CACHEKIT_TEST_RESOLVE=" + given, "TMPDIR=" + os.TempDir(),
		// A name in .invalid (RFC 6761) resolves nowhere.
		"CACHEKIT_API_URL=https://service.invalid", "CACHEKIT_ALLOW_CUSTOM_HOST=true"}
	for name, value := range vars {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	for _, secret := range []string{canary, "hunter2", "ck_sdk_"} {
		if strings.Contains(string(out), secret) {
			t.Errorf("the child shows %q:\n%s", secret, out)
		}
	}
	_, line, found := strings.Cut(string(out), "report ")
	var r report
	if line, _, _ = strings.Cut(line, "\n"); !found || json.Unmarshal([]byte(line), &r) != nil {
		t.Fatalf("child printed %s", out)
	}
	return r
}

type resolution struct {
	rule   string
	env    env
	given  string
	source string   // of the step that is judged, or
	says   []string // what the error names
	kind   string
	over   []string
}

func (tc resolution) check(t *testing.T, got secure.Choice, gotErr string, r report) {
	t.Helper()
	if len(tc.says) > 0 {
		for _, word := range tc.says {
			if !strings.Contains(gotErr, word) {
				t.Errorf("the error is %q, want it to name %s", gotErr, word)
			}
		}
		for _, name := range []string{apiKey, redisURL, memcached, fileDir} {
			if strings.Contains(gotErr, "more than one") && strings.Contains(gotErr, name) != slices.Contains(tc.says, name) {
				t.Errorf("the error is %q, which is wrong about %s", gotErr, name)
			}
		}
		if r.NewErr != r.Err || !r.NewIsConfig {
			t.Errorf("New says %q, Resolve %q", r.NewErr, r.Err)
		}
		return
	}
	if gotErr != "" || got.Source != tc.source || got.Kind != tc.kind || got.Why == "" || !slices.Equal(got.PassedOver, tc.over) {
		t.Errorf("got %+v, error %q; want %s from %s, passed over %q", got, gotErr, tc.kind, tc.source, tc.over)
	}
}

func with(vars env, more env) env {
	all := env{}
	for _, m := range []env{vars, more} {
		for name, value := range m {
			all[name] = value
		}
	}
	return all
}

// Rule: the backend is chosen by the chain of the documentation, whatever else
// the environment sets, and Resolve says what New does.
func TestResolveBackend(t *testing.T) {
	values := env{apiKey: "ck_sdk_" + canary, redisURL: deadURL, memcached: noServer, fileDir: filepath.Join(t.TempDir(), "cache")}
	selectors := []string{apiKey, redisURL, memcached, fileDir}
	kinds := env{apiKey: "cachekitio", redisURL: "redis", memcached: "memcached", fileDir: "file"}
	cases := []resolution{
		{rule: "nothing", says: []string{"no backend", "Options.Backend", "SetDefaultBackend", redisURL, fileDir, plainURL}},
		{rule: "REDIS_URL alone", env: env{plainURL: deadURL}, source: plainURL, kind: "redis"},
		{rule: "REDIS_URL empty", env: env{plainURL: ""}, says: []string{plainURL, "empty"}},
		{rule: "all four", env: values, says: selectors},
		{rule: "a default backend before everything in the environment", env: with(values, env{plainURL: deadURL}), given: "Default",
			source: "SetDefaultBackend", kind: "*secure_test.fake", over: append(slices.Clone(selectors), plainURL)},
		{rule: "an option before the default backend", env: env{fileDir: ""}, given: "Default,Backend",
			source: "Options.Backend", kind: "*memorybackend.Backend", over: []string{"SetDefaultBackend", fileDir}},
		{rule: "an option alone", given: "Backend", source: "Options.Backend", kind: "*memorybackend.Backend"},
		{rule: "no backend at all", env: values, given: "L1Only", source: "Options.L1Only", kind: "in the process", over: selectors},
		{rule: "L1Only beside a default", given: "L1Only,Default", source: "Options.L1Only", kind: "in the process", over: []string{"SetDefaultBackend"}},
	}
	for i, s := range selectors {
		one := env{s: values[s]}
		cases = append(cases,
			resolution{rule: s + " alone", env: one, source: s, kind: kinds[s]},
			resolution{rule: s + " before REDIS_URL", env: with(one, env{plainURL: deadURL}), source: s, kind: kinds[s], over: []string{plainURL}},
			resolution{rule: s + " before an empty REDIS_URL", env: with(one, env{plainURL: ""}), source: s, kind: kinds[s], over: []string{plainURL}},
			resolution{rule: s + " empty", env: env{s: ""}, says: []string{s, "empty"}},
			resolution{rule: s + " blank", env: env{s: " \t"}, says: []string{s, "empty"}},
			resolution{rule: s + " empty, REDIS_URL set", env: env{s: "", plainURL: deadURL}, says: []string{s, "empty"}},
		)
		for _, other := range selectors[i+1:] {
			cases = append(cases,
				resolution{rule: s + " and " + other, env: with(one, env{other: values[other]}), says: []string{"more than one", s, other}},
				resolution{rule: s + " empty and " + other, env: env{s: "", other: values[other]}, says: []string{"more than one", s, other}},
			)
		}
	}
	for _, tc := range cases {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			r := resolveIn(t, with(env{masterKey: oneKey}, tc.env), tc.given)
			tc.check(t, r.Backend, r.BackendErr, r)
			if tc.source == fileDir && r.Type != "file" || tc.source == "SetDefaultBackend" && r.Type != "fake" || tc.source == "Options.Backend" && r.Type != "memory" || tc.source == "Options.L1Only" && r.Type != "l1" {
				t.Errorf("New built %q (%s)", r.Type, r.NewErr)
			}
			if tc.kind == "redis" && (r.NewIsConfig || !strings.Contains(r.NewErr, tc.source)) {
				t.Errorf("New over a dead server says %q, want an outage of %s", r.NewErr, tc.source)
			}
		})
	}
}

// Rule: a variable that chooses Redis chooses the server that it names.
func TestResolveRedis(t *testing.T) {
	s := testenv.Redis(t, nil)
	for _, name := range []string{redisURL, plainURL} {
		if r := resolveIn(t, env{masterKey: oneKey, name: s.URL()}, ""); r.Type != "redis" || r.Err != "" {
			t.Errorf("by %s, New built %q (%s)", name, r.Type, r.NewErr)
		}
	}
}

// Rule: keys are chosen by the chain of the documentation, CACHEKIT_KEYRING is
// never passed over in silence, and the previous keys of the environment belong
// to its current key alone.
func TestResolveKeys(t *testing.T) {
	for _, tc := range []resolution{
		{rule: "one key", env: env{masterKey: oneKey}, source: masterKey, kind: "one key"},
		{rule: "one previous key", env: env{masterKey: oneKey, previousKeys: twoKey}, source: masterKey, kind: "one key and one decrypt-only key"},
		{rule: "two previous keys", env: env{masterKey: oneKey, previousKeys: twoKey + ", " + threeKey}, source: masterKey, kind: "one key and 2 decrypt-only keys"},
		{rule: "no previous keys", env: env{masterKey: oneKey, previousKeys: " "}, source: masterKey, kind: "one key"},
		{rule: "no key", says: []string{masterKey}},
		{rule: "an empty key", env: env{masterKey: ""}, says: []string{masterKey, "empty"}},
		{rule: "a short key", env: env{masterKey: canary}, says: []string{masterKey}},
		{rule: "a key that is not hex", env: env{masterKey: canary + strings.Repeat("z", 58)}, says: []string{masterKey, "hex"}},
		{rule: "a key that is not UTF-8", env: env{masterKey: canary + "\xff"}, says: []string{masterKey, "UTF-8"}},
		{rule: "previous keys alone", env: env{previousKeys: twoKey}, says: []string{previousKeys, masterKey}},
		{rule: "a bad previous key", env: env{masterKey: oneKey, previousKeys: twoKey + ",x"}, says: []string{previousKeys, "entry 2"}},
		{rule: "the current key among the previous", env: env{masterKey: oneKey, previousKeys: oneKey}, says: []string{previousKeys}},
		{rule: "a previous key twice", env: env{masterKey: oneKey, previousKeys: twoKey + "," + twoKey}, says: []string{previousKeys}},
		{rule: "four previous keys", env: env{masterKey: oneKey, previousKeys: strings.Join([]string{twoKey, threeKey, canary + strings.Repeat("4", 58), canary + strings.Repeat("5", 58)}, ",")}, says: []string{previousKeys}},
		{rule: "a keyring file alone", env: env{keyringFile: "/" + canary}, says: []string{keyringFile, "Options.Keyring"}},
		{rule: "a keyring file beside a key", env: env{keyringFile: "/" + canary, masterKey: oneKey}, says: []string{keyringFile}},
		{rule: "an empty keyring variable", env: env{keyringFile: "", masterKey: oneKey}, says: []string{keyringFile}},
		{rule: "an option before the environment", env: env{masterKey: "broken", previousKeys: twoKey, keyringFile: "/x"}, given: "MasterKey",
			source: "Options.MasterKey", kind: "one key", over: []string{masterKey, previousKeys, keyringFile}},
		{rule: "an option alone", given: "MasterKey", source: "Options.MasterKey", kind: "one key"},
		{rule: "a keyring before the environment", env: env{masterKey: "broken"}, given: "Keyring", source: "Options.Keyring", kind: "*keys.Keyring"},
		{rule: "a keyring and a key", given: "Keyring,MasterKey", says: []string{}, source: "Options.Keyring", kind: "*keys.Keyring"},
		{rule: "plaintext needs none", env: env{masterKey: "broken"}, given: "Plaintext", source: "Options.Plaintext", kind: "no encryption", over: []string{masterKey}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			r := resolveIn(t, tc.env, tc.given+",Backend")
			tc.check(t, r.Keys, r.KeysErr, r)
			if len(tc.says) == 0 && r.Err != r.NewErr {
				t.Errorf("New says %q, Resolve %q", r.NewErr, r.Err)
			}
			if tc.rule == "a keyring and a key" && !strings.Contains(r.Err, "not both") {
				t.Errorf("Resolve says %q", r.Err)
			}
		})
	}
}

// Rule: a choice reads as one sentence, and the io profile never takes a
// backend from the chain.
func TestResolveText(t *testing.T) {
	clean(t)
	t.Setenv(masterKey, oneKey)
	t.Setenv(redisURL, deadURL)
	t.Setenv(plainURL, deadURL)
	r, err := secure.Resolve(nil)
	if want := "redis, from CACHEKIT_REDIS_URL: it is the one selector that the environment sets; passed over: REDIS_URL"; err != nil || r.Backend.String() != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, r.Backend, want)
	}
	if want := "one key, from CACHEKIT_MASTER_KEY: the options have no key"; r.Keys.String() != want {
		t.Errorf("got %s, want %s", r.Keys, want)
	}
	os.Unsetenv(masterKey)
	if r, err = secure.Resolve(nil); !errors.Is(err, secure.ErrConfig) || !errors.Is(err, keys.ErrNoKey) || !strings.HasPrefix(r.Keys.String(), "none: ") || r.Backend.Kind != "redis" {
		t.Errorf("without a key: %v, keys %s, backend %s", err, r.Keys, r.Backend)
	}
	if r, err := secure.ResolveIO(nil); err == nil || r.Backend.Kind == "redis" {
		t.Errorf("io: %v, %s", err, r.Backend)
	}
}
