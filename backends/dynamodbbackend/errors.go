package dynamodbbackend

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/cachekit-io/cachekit-go/backends"
)

// backendType is what errors and health reports call this storage.
const backendType = "dynamodb"

// ServiceError is a refusal by DynamoDB or by what stands before it, reduced to what cannot repeat a request:
// messages of the service can hold keys and values. The error of the SDK stays
// reachable by errors.As and errors.Is; its text is not clean.
type ServiceError struct {
	// Code is the name of the exception, "ThrottlingException" for example, or
	// "" if the answer had none.
	Code string
	// Status is the HTTP status, 0 if there was none.
	Status int
	// RequestID is what AWS Support asks for, or "".
	RequestID string

	cause error
}

// Error names code, status and request, and says what to do where that is known.
func (e *ServiceError) Error() string {
	var b strings.Builder
	b.WriteString("the server answered")
	if e.Code != "" {
		b.WriteString(" " + e.Code)
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, " (status %d)", e.Status)
	}
	if e.RequestID != "" {
		b.WriteString(" to request " + e.RequestID)
	}
	if hint := hints[e.Code]; hint != "" {
		b.WriteString(": " + hint)
	}
	return b.String()
}

// As finds the errors of the SDK below e.
func (e *ServiceError) As(target any) bool { return errors.As(e.cause, target) }

// Is finds the errors of the SDK below e.
func (e *ServiceError) Is(target error) bool { return errors.Is(e.cause, target) }

// quiet is an error whose text is fixed and whose cause, with a text that may
// tell too much, stays reachable.
type quiet struct {
	text  string
	cause error
}

func (e *quiet) Error() string        { return e.text }
func (e *quiet) As(target any) bool   { return errors.As(e.cause, target) }
func (e *quiet) Is(target error) bool { return errors.Is(e.cause, target) }

var (
	errItemSize    = fmt.Errorf("the item would be larger than DynamoDB's %d bytes, names and key included", maxItemBytes)
	errTimeout     = errors.New("no answer within Options.Timeout")
	errUnprocessed = errors.New("throttled: DynamoDB left a part of the batch unprocessed until Options.Timeout")
)

// fail turns an error of the SDK into one of the contract. ctx is the caller's.
func fail(ctx context.Context, op string, err error) error {
	if errors.Is(err, backends.ErrNotFound) || errors.Is(err, backends.ErrLocked) {
		return err
	}
	if ended := contextError(ctx, err); ended != nil {
		return ended
	}
	var known *backends.Error
	if errors.As(err, &known) {
		return err
	}
	kind, cause := classify(err)
	return &backends.Error{Op: op, Backend: backendType, Kind: kind, RetryAfter: retryAfter(err), Err: cause}
}

// contextError returns the error of ctx if that is what ended the call. The
// backend's own limit can strike an instant before the timer of the context.
func contextError(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	if d, ok := ctx.Deadline(); ok && errors.Is(err, context.DeadlineExceeded) && !time.Now().Before(d) {
		return context.DeadlineExceeded
	}
	return nil
}

func classify(err error) (backends.Kind, error) {
	var (
		answer   smithy.APIError
		response *smithyhttp.ResponseError
		sending  *smithyhttp.RequestSendError
		decoding *smithy.DeserializationError
	)
	switch {
	case errors.Is(err, errItem):
		return backends.Permanent, errItem
	case errors.Is(err, errRefused):
		return backends.Transient, errRefused
	case errors.Is(err, errAnswerSize):
		return backends.Transient, errAnswerSize
	case errors.Is(err, errChecksum):
		return backends.Transient, errChecksum
	case identityStage(err):
		return classifyIdentity(err)
	case errors.As(err, &decoding):
		if e := serviceError(err, ""); e.Status >= http.StatusMultipleChoices {
			return classifyCode("", "", e) // the page of somebody in between
		}
		return backends.Transient, &quiet{"the answer is malformed", err}
	case errors.As(err, &answer):
		return classifyCode(answer.ErrorCode(), answer.ErrorMessage(), serviceError(err, answer.ErrorCode()))
	case errors.As(err, &sending), errors.Is(err, context.DeadlineExceeded):
		return classifyNetwork(err)
	case errors.As(err, &response):
		return backends.Transient, &quiet{"the answer is malformed", err}
	case strings.Contains(err.Error(), "resolve service endpoint"):
		return backends.Permanent, &quiet{"the client has no usable region or endpoint", err}
	}
	return classifyNetwork(err)
}

// identityStage reports whether the SDK failed to get or use credentials, before
// it sent anything. Only the text tells (auth.go of the generated client).
func identityStage(err error) bool {
	text := err.Error()
	return strings.Contains(text, "get identity: ") || strings.Contains(text, "failed to sign request")
}

// classifyIdentity tells credentials that are missing or refused from a token
// service that cannot be reached. The instance metadata service counts as the
// former: it is the end of the default chain where there are no credentials.
func classifyIdentity(err error) (backends.Kind, error) {
	var sending *smithyhttp.RequestSendError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return backends.Timeout, &quiet{"no credentials within Options.Timeout", err}
	case errors.As(err, &sending) && !strings.Contains(err.Error(), "ec2imds"):
		return backends.Transient, &quiet{"the service that issues credentials cannot be reached", err}
	}
	return backends.Auth, &quiet{"no usable AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or run under a role", err}
}

// serviceError keeps of an answer what is safe to show.
func serviceError(err error, code string) *ServiceError {
	e := &ServiceError{Code: word(code), cause: err}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.Response != nil && response.Response.Response != nil {
		e.Status = response.HTTPStatusCode()
		e.RequestID = word(response.Response.Header.Get("X-Amzn-Requestid"))
	}
	return e
}

// word returns s if it is one short word, as codes and request ids are, or "".
func word(s string) string {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	}
	if len(s) > 64 || strings.ContainsFunc(s, odd) || s == "UnknownError" {
		return ""
	}
	return s
}

// kinds are the codes of DynamoDB and of the front end of AWS (API reference,
// "Common errors", and Developer Guide, "Error handling with DynamoDB").
var kinds = map[string]backends.Kind{
	"AccessDeniedException":                  backends.Auth,
	"ExpiredTokenException":                  backends.Auth,
	"IncompleteSignatureException":           backends.Auth,
	"InvalidClientTokenId":                   backends.Auth,
	"InvalidSignatureException":              backends.Auth,
	"MissingAuthenticationTokenException":    backends.Auth,
	"NotAuthorized":                          backends.Auth,
	"OptInRequired":                          backends.Auth,
	"RequestExpired":                         backends.Auth,
	"UnrecognizedClientException":            backends.Auth,
	"InternalServerError":                    backends.Transient,
	"LimitExceededException":                 backends.Transient,
	"ProvisionedThroughputExceededException": backends.Transient,
	"ReplicatedWriteConflictException":       backends.Transient,
	"RequestLimitExceeded":                   backends.Transient,
	"ResourceInUseException":                 backends.Transient,
	"ServiceUnavailable":                     backends.Transient,
	"ThrottlingException":                    backends.Transient,
	"TransactionConflictException":           backends.Transient,
	"TransactionInProgressException":         backends.Transient,
	"ResourceNotFoundException":              backends.Permanent,
	"ValidationException":                    backends.Permanent,
}

// hints are fixed texts beside the codes that a person has to act on.
var hints = map[string]string{
	"AccessDeniedException":               "the role or user lacks a permission (dynamodb:GetItem, PutItem, UpdateItem, DeleteItem, BatchGetItem, BatchWriteItem, Scan) on the table",
	"ExpiredTokenException":               "the session of the credentials is over",
	"InvalidSignatureException":           "the secret key is wrong, or the clock of this machine is",
	"MissingAuthenticationTokenException": "the request carried no credentials",
	"RequestExpired":                      "the clock of this machine is wrong",
	"UnrecognizedClientException":         "the access key or session token is not valid in this region",
	"ResourceNotFoundException":           "no such table in this region and account, or it is not active yet; create it, in development with EnsureTable",
	"ValidationException":                 "the request does not fit the table: its only key has to be the string Options.Attributes.Key",
}

func classifyCode(code, message string, answer *ServiceError) (backends.Kind, error) {
	if code == "ValidationException" && strings.Contains(message, "tem size") {
		return backends.TooLarge, &quiet{errItemSize.Error(), answer}
	}
	if kind, ok := kinds[code]; ok {
		return kind, answer
	}
	switch status := answer.Status; {
	case status == http.StatusRequestEntityTooLarge:
		return backends.TooLarge, answer
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return backends.Auth, answer
	case status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		return backends.Transient, answer
	}
	return backends.Permanent, answer
}

// throttled reports whether an operation was refused for its rate.
func throttled(err error) bool {
	var answer smithy.APIError
	var slow *types.ProvisionedThroughputExceededException
	if !errors.As(err, &answer) {
		return false
	}
	code := answer.ErrorCode()
	return errors.As(err, &slow) || code == "ThrottlingException" || code == "RequestLimitExceeded"
}

// classifyNetwork shows an error of the network stack, which tells addresses and
// no more, without what wraps it: the SDK's text has the URL, and net/http quotes
// an answer that is not HTTP.
func classifyNetwork(err error) (backends.Kind, error) {
	var (
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		op          *net.OpError
		wrapped     *url.Error
	)
	timeout := errors.As(err, &wrapped) && wrapped.Timeout()
	switch {
	case errors.As(err, &certificate):
		return backends.Permanent, certificate
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return backends.Permanent, &quiet{"the endpoint does not speak TLS: is it http instead of https?", err}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), timeout:
		return backends.Timeout, errTimeout
	case errors.As(err, &op):
		return backends.Transient, op
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return backends.Transient, &quiet{"the connection was closed before the answer", err}
	}
	return backends.Transient, &quiet{"the request was not answered", err}
}
