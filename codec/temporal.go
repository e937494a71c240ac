package codec

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/mpack"
)

// The sentinel maps of temporal values: {"__datetime__": true, "value": text}
// and likewise (spec/wire-format.md, "Temporal sentinels"; the text is ISO 8601
// as Python's isoformat writes it).
const (
	sentinelDateTime = "__datetime__"
	sentinelDate     = "__date__"
	sentinelTime     = "__time__"
	sentinelValue    = "value"
)

// Date is a calendar date without a time or a zone. The zero value is no date.
type Date struct {
	Year  int // 1 to 9999
	Month time.Month
	Day   int
}

// String returns the date as 2006-01-02.
func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) }

// TimeOfDay is a time of day without a date.
type TimeOfDay struct {
	Hour, Minute, Second, Microsecond int
	// Zoned is true if the time carries an offset from UTC.
	Zoned  bool
	Offset time.Duration // whole seconds
}

// String returns the time as 15:04:05, with microseconds and offset where it
// has them.
func (t TimeOfDay) String() string {
	layout := "15:04:05"
	if t.Microsecond != 0 {
		layout += ".000000"
	}
	if t.Zoned {
		return formatZoned(t.time(), layout)
	}
	return t.time().Format(layout)
}

func (t TimeOfDay) time() time.Time {
	zone := time.FixedZone("", int(t.Offset/time.Second))
	return time.Date(2000, 1, 1, t.Hour, t.Minute, t.Second, t.Microsecond*1000, zone)
}

// formatZoned adds the offset, with seconds only in the zones that have them, as
// Python writes it and can read it: less than a day.
func formatZoned(t time.Time, layout string) string {
	_, seconds := t.Zone()
	switch {
	case seconds <= -86400 || seconds >= 86400:
		return t.UTC().Format(layout + "-07:00")
	case seconds%60 == 0:
		return t.Format(layout + "-07:00")
	case -60 < seconds && seconds < 0:
		// For these, time.Format writes +00:00:-05.
		return fmt.Sprintf("%s-00:00:%02d", t.Format(layout), -seconds)
	}
	return t.Format(layout + "-07:00:00")
}

// formatTime writes t as Python's isoformat does: whole microseconds, rounded
// down, left out if there are none.
func formatTime(t time.Time) string {
	layout := "2006-01-02T15:04:05"
	if t.Nanosecond() >= 1000 {
		layout += ".000000"
	}
	return formatZoned(t, layout)
}

func appendSentinel(dst []byte, kind, text string) []byte {
	dst = mpack.AppendMapHeader(dst, 2)
	dst = mpack.AppendBool(mpack.AppendString(dst, kind), true)
	return mpack.AppendString(mpack.AppendString(dst, sentinelValue), text)
}

func encodeTime(e *encoder, dst []byte, v reflect.Value) ([]byte, error) {
	t := v.Interface().(time.Time)
	if e.args {
		return appendTimestamp(dst, t)
	}
	if y := t.Year(); y < 1 || y > 9999 {
		return dst, refusal(timeType, "the year is not between 1 and 9999")
	}
	return appendSentinel(dst, sentinelDateTime, formatTime(t)), nil
}

func encodeTemporal(e *encoder, dst []byte, v reflect.Value) ([]byte, error) {
	if e.args {
		return dst, refusal(v.Type(), "not part of the argument model: pass a time.Time or a string")
	}
	switch x := v.Interface().(type) {
	case Date:
		if d, err := parseDate(x.String()); err != nil || d != x {
			return dst, refusal(dateType, "it is not a date of the years 1 to 9999")
		}
		return appendSentinel(dst, sentinelDate, x.String()), nil
	case TimeOfDay:
		if t, err := parseTimeOfDay(x.String()); err != nil || t != x {
			return dst, refusal(timeOfDayType, "it is not a time of day")
		}
		return appendSentinel(dst, sentinelTime, x.String()), nil
	}
	return dst, refusal(v.Type(), "not a temporal value")
}

// parseTime reads what the family writes for a date and time: ISO 8601 with an
// offset, "Z", or none, which is taken as UTC (Python's naive datetime).
func parseTime(text string) (time.Time, error) {
	return parseAny(text, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999")
}

func parseAny(text string, layouts ...string) (t time.Time, err error) {
	// time.Parse takes an offset of -1 s for none.
	if wall, ok := strings.CutSuffix(text, "-00:00:01"); ok {
		t, err = parseAny(wall+"Z", layouts...)
		return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.FixedZone("", -1)), err
	}
	for _, layout := range layouts {
		for _, zone := range []string{"Z07:00", "z07:00", "Z07:00:00", ""} {
			if t, err = time.Parse(layout+zone, text); err == nil {
				return t, nil
			}
		}
	}
	return t, err
}

func parseDate(text string) (Date, error) {
	t, err := time.Parse(time.DateOnly, text)
	return Date{t.Year(), t.Month(), t.Day()}, err
}

func parseTimeOfDay(text string) (TimeOfDay, error) {
	t, err := parseAny(text, "15:04:05.999999999", "15:04")
	out := TimeOfDay{Hour: t.Hour(), Minute: t.Minute(), Second: t.Second(), Microsecond: t.Nanosecond() / 1000}
	for i := range text {
		if c := text[i]; c == 'Z' || c == 'z' || c == '+' || c == '-' {
			_, seconds := t.Zone()
			out.Zoned, out.Offset = true, time.Duration(seconds)*time.Second
		}
	}
	return out, err
}
