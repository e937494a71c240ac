package codec

import (
	"reflect"
	"time"
)

// anyMap reads a map: a temporal value if it is one of the sentinel maps, else
// a map with string keys, or with keys of any type if one is no string.
func (d *decoder) anyMap() (any, error) {
	if kind, text, ok := d.sentinel(); ok {
		if x, err := parseSentinel(kind, text); err == nil {
			d.skip()
			return x, nil
		}
	}
	n, _ := d.mapping()
	byName := make(map[string]any, min(n, maxFirst(anyType)))
	var byAny map[any]any
	for range n {
		key, err := d.any()
		if err != nil {
			return nil, err
		}
		value, err := d.any()
		if err != nil {
			return nil, err
		}
		name, isText := key.(string)
		if !isText && byAny == nil {
			byAny = make(map[any]any, len(byName)+1)
			for k, v := range byName {
				byAny[k] = v
			}
		}
		switch {
		case byAny == nil:
			byName[name] = value
		case !reflect.ValueOf(key).IsValid(), reflect.ValueOf(key).Comparable():
			byAny[key] = value
		default:
			return nil, refusal(anyType, "a stored map key cannot be a key in Go")
		}
	}
	if byAny != nil {
		return byAny, nil
	}
	return byName, nil
}

// sentinel looks at the map at the position without reading it: is it
// {"__date...__": true, "value": text}, in either order and nothing else?
func (d *decoder) sentinel() (kind, text string, ok bool) {
	at := *d
	if n, isMap := at.mapping(); !isMap || n != 2 {
		return "", "", false
	}
	for range 2 {
		name, isText := at.peekText()
		if !isText {
			return "", "", false
		}
		at.skip()
		switch {
		case string(name) == sentinelValue:
			b, isText := at.peekText()
			if !isText {
				return "", "", false
			}
			text = string(b)
		case at.data[at.pos] == 0xc3 && isSentinel(name):
			kind = string(name)
		default:
			return "", "", false
		}
		at.skip()
	}
	return kind, text, kind != "" && text != ""
}

func isSentinel(name []byte) bool {
	switch string(name) {
	case sentinelDateTime, sentinelDate, sentinelTime:
		return true
	}
	return false
}

func parseSentinel(kind, text string) (any, error) {
	switch kind {
	case sentinelDateTime:
		return parseTime(text)
	case sentinelDate:
		return parseDate(text)
	}
	return parseTimeOfDay(text)
}

// decodeTemporal reads a sentinel map, or the bare text of one, into time.Time,
// Date or TimeOfDay. A date is midnight UTC as a time.Time.
func decodeTemporal(d *decoder, v reflect.Value) error {
	kind, text, ok := d.sentinel()
	if !ok {
		b, isText := d.peekText()
		if !isText {
			return d.mismatch(v)
		}
		kind, text = kindFor(v.Type()), string(b)
	}
	x, err := parseSentinel(kind, text)
	if err != nil {
		return refusal(v.Type(), "the stored text is not of this type")
	}
	if date, isDate := x.(Date); isDate && v.Type() == timeType {
		x = time.Date(date.Year, date.Month, date.Day, 0, 0, 0, 0, time.UTC)
	}
	if reflect.TypeOf(x) != v.Type() {
		return refusal(v.Type(), "the stored value is %s", describe(x))
	}
	d.skip()
	v.Set(reflect.ValueOf(x))
	return nil
}

func kindFor(t reflect.Type) string {
	switch t {
	case dateType:
		return sentinelDate
	case timeOfDayType:
		return sentinelTime
	}
	return sentinelDateTime
}

func describe(x any) string {
	switch x.(type) {
	case time.Time:
		return "a date with a time"
	case Date:
		return "a date"
	}
	return "a time of day"
}
