package cachekitio_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
)

const keyText = "ck_sdk_0123456789abcdef"

func apiKey(tb testing.TB, text string) cachekitio.APIKey {
	tb.Helper()
	k, err := cachekitio.ParseAPIKey(text)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func TestAPIKeyClasses(t *testing.T) {
	for text, want := range map[string]cachekitio.Class{
		keyText: cachekitio.SDK, "ck_api_x": cachekitio.Direct, "ck_live_x": cachekitio.Legacy,
		"ck_test_x": cachekitio.Unknown, "sdk": cachekitio.Unknown, "CK_SDK_x": cachekitio.Unknown, "a-._~+/b==": cachekitio.Unknown,
	} {
		if got := apiKey(t, text).Class(); got != want {
			t.Errorf("class of %q = %d, want %d", text, got, want)
		}
	}
}

func TestAPIKeyRefusals(t *testing.T) {
	for _, text := range []string{
		"", "=", "==", keyText + "\n", keyText + "\r", " " + keyText, keyText + " ", "\ufeff" + keyText, "ck_sdk_a\x00b",
		"ck_sdk_é", "ck_sdk_a=b", "ck_sdk_a,b", `"ck_sdk_a"`, "ck_sdk_" + strings.Repeat("a", 600),
	} {
		k, err := cachekitio.ParseAPIKey(text)
		if !errors.Is(err, cachekitio.ErrAPIKey) || !k.IsZero() {
			t.Errorf("%q: %v, want ErrAPIKey", text, err)
		}
		if body := strings.Trim(text, "= \r\n\ufeff"); len(body) > 3 && err != nil && strings.Contains(err.Error(), body) {
			t.Errorf("the refusal of %q repeats it", text)
		}
	}
}

func TestAPIKeyDoesNotPrint(t *testing.T) {
	type holder struct {
		Key  cachekitio.APIKey
		key  cachekitio.APIKey
		Opts cachekitio.Options
		Ptr  *cachekitio.Options
	}
	k := apiKey(t, keyText)
	o := cachekitio.Options{APIKey: k}
	h := holder{k, k, o, &o}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", k, "options", o, "holder", h)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", k)
	asJSON, _ := json.Marshal(struct{ K cachekitio.APIKey }{k})
	all := log.String() + string(asJSON)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%10v", "%-+#v"} {
		all += fmt.Sprintf(verb, k) + fmt.Sprintf(verb, &k) + fmt.Sprintf(verb, h) + fmt.Sprintf(verb, &h) + fmt.Sprintf(verb, []any{k, o})
	}
	for _, leak := range []string{keyText, fmt.Sprintf("%x", keyText), fmt.Sprintf("%X", keyText), strings.Trim(fmt.Sprint([]byte(keyText)), "[]")} {
		if strings.Contains(all, leak) {
			t.Errorf("the key prints as %q", leak)
		}
	}
}

func cleanEnv(t *testing.T) {
	t.Helper()
	for _, name := range []string{"API_KEY", "API_URL", "TIMEOUT", "MAX_RETRIES", "CONNECTION_POOL_SIZE", "ALLOW_CUSTOM_HOST"} {
		t.Setenv("CACHEKIT_"+name, "")
		os.Unsetenv("CACHEKIT_" + name)
	}
}

func TestFromEnv(t *testing.T) {
	for _, tc := range []struct {
		name, value string
		ok          bool
		check       func(o *cachekitio.Options) bool
	}{
		{"API_KEY", keyText, true, func(o *cachekitio.Options) bool { return o.APIKey.Class() == cachekitio.SDK }},
		{"API_KEY", "", false, nil},
		{"API_KEY", keyText + "\n", false, nil},
		{"API_URL", "https://x.example/base", true, func(o *cachekitio.Options) bool { return o.URL == "https://x.example/base" }},
		{"TIMEOUT", "2.5", true, func(o *cachekitio.Options) bool { return o.Timeout == 2500*time.Millisecond }},
		{"TIMEOUT", "5", true, func(o *cachekitio.Options) bool { return o.Timeout == 5*time.Second }},
		{"TIMEOUT", "1e-30", true, func(o *cachekitio.Options) bool { return o.Timeout == 1 }},
		{"TIMEOUT", "0", false, nil},
		{"TIMEOUT", "-1", false, nil},
		{"TIMEOUT", "nan", false, nil},
		{"TIMEOUT", "inf", false, nil},
		{"TIMEOUT", "5s", false, nil},
		{"TIMEOUT", "", false, nil},
		{"MAX_RETRIES", "7", true, func(o *cachekitio.Options) bool { return o.MaxRetries == 7 }},
		{"MAX_RETRIES", "0", true, func(o *cachekitio.Options) bool { return o.MaxRetries < 0 }},
		{"MAX_RETRIES", "-1", false, nil},
		{"MAX_RETRIES", "many", false, nil},
		{"CONNECTION_POOL_SIZE", "32", true, func(o *cachekitio.Options) bool { return true }},
		{"CONNECTION_POOL_SIZE", "0", false, nil},
		{"ALLOW_CUSTOM_HOST", "true", true, func(o *cachekitio.Options) bool { return o.AllowCustomHost }},
		{"ALLOW_CUSTOM_HOST", "No", true, func(o *cachekitio.Options) bool { return !o.AllowCustomHost }},
		{"ALLOW_CUSTOM_HOST", "perhaps", false, nil},
	} {
		t.Run(tc.name+"="+tc.value, func(t *testing.T) {
			cleanEnv(t)
			t.Setenv("CACHEKIT_"+tc.name, tc.value)
			o, err := cachekitio.FromEnv()
			var refused *cachekitio.OptionsError
			switch {
			case tc.ok && (err != nil || !tc.check(o)):
				t.Errorf("FromEnv = %+v, %v", o, err)
			case !tc.ok && (!errors.As(err, &refused) || !strings.Contains(err.Error(), "CACHEKIT_"+tc.name)):
				t.Errorf("FromEnv = %v, want an *OptionsError that names the variable", err)
			case !tc.ok && strings.Count(err.Error(), "cachekitio:") != 1:
				t.Errorf("FromEnv = %v, which does not name the package once", err)
			case !tc.ok && len(tc.value) > 3 && strings.Contains(err.Error(), strings.TrimSpace(tc.value)):
				t.Errorf("FromEnv = %v, which repeats the value", err)
			}
		})
	}
	cleanEnv(t)
	if o, err := cachekitio.FromEnv(); err != nil || !o.APIKey.IsZero() || o.URL != "" || o.Timeout != 0 || o.MaxRetries != 0 {
		t.Errorf("FromEnv of nothing = %+v, %v", o, err)
	}
}
