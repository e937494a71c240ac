package redisbackend

import "strings"

// facts are the fields of INFO that a health report repeats.
var facts = map[string]string{
	"redis_version":     "version",
	"valkey_version":    "valkey_version",
	"redis_mode":        "mode",
	"uptime_in_seconds": "uptime_seconds",
}

// details picks facts from the answer of INFO, each short and printable.
func details(info string) map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(info) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if label := facts[name]; ok && label != "" && len(value) <= 64 && plain(value) {
			found[label] = value
		}
	}
	return found
}

func plain(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
