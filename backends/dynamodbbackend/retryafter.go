package dynamodbbackend

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// longestRetryAfter bounds what a server may ask for.
const longestRetryAfter = time.Hour

// retryAfter is how long the answer asks to wait: milliseconds in AWS's own
// header, seconds or a date in HTTP's (RFC 9110, 10.2.3). 0 if it does not say.
func retryAfter(err error) time.Duration {
	var response *smithyhttp.ResponseError
	if !errors.As(err, &response) || response.Response == nil || response.Response.Response == nil {
		return 0
	}
	h := response.Response.Header
	if ms, err := strconv.ParseUint(h.Get("X-Amz-Retry-After"), 10, 31); err == nil {
		return min(time.Duration(ms)*time.Millisecond, longestRetryAfter)
	}
	value := h.Get("Retry-After")
	if s, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(s)*time.Second, longestRetryAfter)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, min(time.Until(at), longestRetryAfter))
	}
	return 0
}
