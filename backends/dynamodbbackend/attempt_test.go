package dynamodbbackend_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// signed keeps when the last request says that it was signed.
type signed struct {
	*answer
	at time.Time
}

func (s *signed) Do(req *http.Request) (*http.Response, error) {
	s.at, _ = time.Parse("20060102T150405Z", req.Header.Get("X-Amz-Date"))
	return s.answer.Do(req)
}

// Rule: calls are signed for the clock of the server, once an answer has told it,
// whatever this machine's says, also by another Backend of the same client.
func TestSkewedClock(t *testing.T) {
	const ahead = time.Hour
	s := &signed{answer: &answer{status: 200, body: "{}", header: http.Header{"Date": {time.Now().Add(ahead).UTC().Format(http.TimeFormat)}}}}
	client := connect(t, "http://127.0.0.1:1", func(o *dynamodb.Options) { o.HTTPClient = s })
	for i, want := range []time.Duration{0, ahead, ahead} {
		_ = over(t, client, "table", nil).Set(t.Context(), "k", nil, time.Minute)
		if got := time.Until(s.at); (got - want).Abs() > ahead/2 {
			t.Errorf("call %d was signed for %v from now, want about %v", i, got, want)
		}
	}
	if got := s.calls.Load(); got != 3 {
		t.Errorf("%d requests for 3 calls", got)
	}
}
