package cachekitio

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// Variables of the family (spec/saas-api.md, "Environment Variables").
const (
	envAPIKey      = "CACHEKIT_API_KEY"
	envURL         = "CACHEKIT_API_URL"
	envTimeout     = "CACHEKIT_TIMEOUT"
	envMaxRetries  = "CACHEKIT_MAX_RETRIES"
	envPoolSize    = "CACHEKIT_CONNECTION_POOL_SIZE"
	envAllowCustom = "CACHEKIT_ALLOW_CUSTOM_HOST"
)

// maxTimeoutSeconds keeps a mistyped timeout from meaning "for ever".
const maxTimeoutSeconds = 3600

// FromEnv returns the options that the environment sets; what it does not set
// is the default. The error is an *OptionsError that names the variable and not
// its value.
//
//	CACHEKIT_API_KEY               the API key
//	CACHEKIT_API_URL               Options.URL
//	CACHEKIT_TIMEOUT               Options.Timeout in seconds, 5.0 by default, at most 3600
//	CACHEKIT_MAX_RETRIES           Options.MaxRetries; 0 means never
//	CACHEKIT_ALLOW_CUSTOM_HOST     true, 1, yes or on; false, 0, no or off
//	CACHEKIT_CONNECTION_POOL_SIZE  checked and otherwise without effect: one
//	                               HTTP/2 connection carries all calls
//
// It does not check what Open checks.
func FromEnv() (*Options, error) {
	o := &Options{URL: os.Getenv(envURL)}
	if text, ok := os.LookupEnv(envAPIKey); ok {
		key, err := ParseAPIKey(text)
		if err != nil {
			return nil, refused("%s: %s", envAPIKey, notBearer)
		}
		o.APIKey = key
	}
	if text, ok := os.LookupEnv(envTimeout); ok {
		seconds, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || !(seconds > 0 && seconds <= maxTimeoutSeconds) {
			return nil, refused("%s is not a number of seconds above 0 and up to %d", envTimeout, maxTimeoutSeconds)
		}
		o.Timeout = max(time.Duration(seconds*float64(time.Second)), 1)
	}
	if err := o.countsFromEnv(); err != nil {
		return nil, err
	}
	if text, ok := os.LookupEnv(envAllowCustom); ok {
		allow, known := truth[strings.ToLower(strings.TrimSpace(text))]
		if !known {
			return nil, refused("%s is neither true nor false", envAllowCustom)
		}
		o.AllowCustomHost = allow
	}
	return o, nil
}

// truth are the spellings that cachekit-py takes.
var truth = map[string]bool{
	"true": true, "1": true, "yes": true, "on": true, "t": true, "y": true,
	"false": false, "0": false, "no": false, "off": false, "f": false, "n": false,
}

func (o *Options) countsFromEnv() error {
	if text, ok := os.LookupEnv(envPoolSize); ok {
		if n, err := strconv.Atoi(strings.TrimSpace(text)); err != nil || n < 1 {
			return refused("%s is not a positive number", envPoolSize)
		}
	}
	if text, ok := os.LookupEnv(envMaxRetries); ok {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 0 {
			return refused("%s is not a number of 0 or more", envMaxRetries)
		}
		if o.MaxRetries = n; n == 0 {
			o.MaxRetries = -1
		}
	}
	return nil
}
