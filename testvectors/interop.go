package testvectors

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/cachekit-io/cachekit-go/codec"
	"github.com/cachekit-io/cachekit-go/codec/container"
	"github.com/cachekit-io/cachekit-go/codec/interop"
)

func checkInteropKey(c struct {
	header
	Namespace string   `json:"namespace"`
	Operation string   `json:"operation"`
	Args      []any    `json:"args"`
	Canonical hexBytes `json:"canonical_hex"`
	Key       string   `json:"key"`
}) error {
	args, err := untagList(c.Args)
	if err != nil {
		return err
	}
	canonical, err := codec.AppendArgs(nil, args...)
	if err != nil {
		return err
	}
	if err := same("canonical arguments", canonical, c.Canonical); err != nil {
		return err
	}
	key, err := interop.Key(c.Namespace, c.Operation, args...)
	if err != nil || key != c.Key {
		return fmt.Errorf("key is %s (%v), want %s", key, err, c.Key)
	}
	return nil
}

func checkInteropKeyRefused(c struct {
	header
	Namespace string `json:"namespace"`
	Operation string `json:"operation"`
	Args      []any  `json:"args"`
	Class     string `json:"class"`
}) error {
	args, err := untagList(c.Args)
	if c.Class == "no_go_value" {
		return classified(err, c.Class, map[string]error{"no_go_value": errNoGoValue})
	}
	if err != nil {
		return err
	}
	_, err = interop.Key(c.Namespace, c.Operation, args...)
	if typ := (*codec.TypeError)(nil); c.Class == "type" && errors.As(err, &typ) {
		return nil
	}
	return classified(err, c.Class, map[string]error{"segment": interop.ErrSegment, "reserved": interop.ErrReserved, "type": errors.ErrUnsupported})
}

func checkValue(c struct {
	header
	Value any      `json:"value"`
	Doc   hexBytes `json:"doc_hex"`
}) error {
	v, err := untag(c.Value)
	if err != nil {
		return err
	}
	doc, err := codec.Marshal(v)
	if err != nil {
		return err
	}
	return same("document", doc, c.Doc)
}

// checkRead reads a document; a case without a value only says that it is read.
func checkRead(c struct {
	header
	Value json.RawMessage `json:"value"`
	Doc   hexBytes        `json:"doc_hex"`
}) error {
	var got any
	if err := codec.Unmarshal(c.Doc, &got); err != nil || c.Value == nil {
		return err
	}
	var tagged any
	if err := decodeStrict(c.Value, &tagged); err != nil {
		return err
	}
	want, err := untag(tagged)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("it reads as a %T that differs from the value", got)
	}
	return nil
}

// readClasses are the refusals of the bounded reader.
var readClasses = map[string]error{
	"truncated": codec.ErrTruncated, "trailing": codec.ErrTrailing, "depth": codec.ErrDepth,
	"python_frame": codec.ErrPythonFrame, "malformed": codec.ErrMalformed,
}

func checkReadRefused(c struct {
	header
	Doc   hexBytes `json:"doc_hex"`
	Class string   `json:"class"`
}) error {
	var v any
	if err := classified(codec.Unmarshal(c.Doc, &v), c.Class, readClasses); err != nil {
		return err
	}
	return classified(codec.Check(c.Doc), c.Class, readClasses)
}

func checkTemporal(c struct {
	header
	Doc    hexBytes `json:"doc_hex"`
	Type   string   `json:"type"`
	ISO    string   `json:"iso"`
	Writes bool     `json:"writes"`
}) error {
	var got any
	if err := codec.Unmarshal(c.Doc, &got); err != nil {
		return err
	}
	var ok bool
	switch x := got.(type) {
	case time.Time:
		want, err := time.Parse(time.RFC3339Nano, c.ISO)
		ok = c.Type == "datetime" && err == nil && x.Equal(want)
	case codec.Date:
		ok = c.Type == "date" && x.String() == c.ISO
	case codec.TimeOfDay:
		ok = c.Type == "time" && x.String() == c.ISO
	}
	if !ok {
		return fmt.Errorf("it reads as a %T that is not the %s", got, c.Type)
	}
	if !c.Writes {
		return nil
	}
	doc, err := codec.Marshal(got)
	if err != nil {
		return err
	}
	return same("document", doc, c.Doc)
}

// checkDecrypted opens an entry and gives what was in it to one of the readers.
func checkDecrypted(c struct {
	header
	MasterKey  string   `json:"master_key_hex"`
	Tenant     string   `json:"tenant"`
	Key        string   `json:"key"`
	Compressed bool     `json:"compressed"`
	Sealed     hexBytes `json:"sealed_hex"`
	Plaintext  hexBytes `json:"plaintext_hex"`
	Reader     string   `json:"reader"`
	Outcome    string   `json:"outcome"`
}) error {
	doc, err := sealedCase{Current: c.MasterKey, Tenant: c.Tenant, Key: c.Key, Compressed: c.Compressed, Sealed: c.Sealed}.open()
	if err != nil {
		return err
	}
	if err := same("plaintext", doc, c.Plaintext); err != nil {
		return err
	}
	switch c.Reader {
	case "bytestorage":
		_, _, err := container.OpenByteStorage(doc, 0)
		return classified(err, c.Outcome, containerClasses)
	case "codec":
	default:
		return fmt.Errorf("the reader %q is unknown to this program", c.Reader)
	}
	var v any
	err = codec.Unmarshal(doc, &v)
	if c.Outcome != "not_unwrapped" {
		return classified(err, c.Outcome, readClasses)
	}
	if list, ok := v.([]any); err != nil || !ok || len(list) != 4 {
		return fmt.Errorf("the envelope was unwrapped, or refused (%v): a reader must not look for one", err)
	}
	return nil
}
