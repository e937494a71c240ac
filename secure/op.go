package secure

import (
	"context"
	"fmt"
	"time"

	"github.com/cachekit-io/cachekit-go/codec/interop"
)

// Op is an operation of the family's interop mode: a name that programs in
// different languages agree on, under which the results of a function are
// stored, keyed by its arguments. It is safe for concurrent use.
type Op struct {
	core *core
	op   interop.Operation
	ttl  time.Duration
}

// Op returns the operation of the given namespace and name, which both match
// [a-z0-9][a-z0-9._-]{0,63}. Its keys are the interop keys alone
// ("namespace:operation:hash", spec/interop-mode.md), whatever the namespace of
// c; with Options.KeyNameSecret, which would change them, it is an error. The
// error is ErrConfig.
func (c *Cache) Op(namespace, operation string) (*Op, error) {
	if !c.core.hide.IsZero() {
		return nil, misconfigured("Options.KeyNameSecret hides the keys that an operation shares with other programs: build a cache without it for operations")
	}
	op, err := interop.NewOperation(namespace, operation)
	if err != nil {
		return nil, misconfigured("operation: %w", err)
	}
	if err := c.core.cohere(prefix(namespace)); err != nil {
		return nil, err
	}
	return &Op{core: c.core, op: op, ttl: c.core.ttl}, nil
}

// WithTTL returns the same operation with a time to live of its own for what
// it stores: positive, or NoExpiry; anything else is ErrTTL on use.
func (o *Op) WithTTL(ttl time.Duration) *Op {
	return &Op{core: o.core, op: o.op, ttl: ttl}
}

// Key returns the storage key of a call with args. The arguments are those of
// the interop data model; a struct is one map argument. The error is ErrType.
func (o *Op) Key(args ...any) (string, error) {
	return o.name("key", args)
}

func (o *Op) name(op string, args []any) (string, error) {
	if o.core.closed.Load() {
		return "", &Error{Op: op, Err: ErrClosed}
	}
	name, err := o.op.Key(args...)
	if err != nil {
		return "", &Error{Op: op, Err: fmt.Errorf("%w: %w", ErrType, err)}
	}
	return name, nil
}

// Get is Cache.Get for the call with args.
func (o *Op) Get(ctx context.Context, dst any, args ...any) (found bool, err error) {
	name, err := o.name("get", args)
	if err != nil {
		return false, err
	}
	found, err = o.core.get(ctx, name, o.ttl, dst)
	return found, o.core.fail(ctx, "get", name, err)
}

// Set is Cache.Set for the call with args.
func (o *Op) Set(ctx context.Context, value any, args ...any) error {
	name, err := o.name("set", args)
	if err != nil {
		return err
	}
	ctx, seen := o.core.begin(ctx, "set", name, 1)
	err = o.core.set(ctx, name, value, o.ttl)
	seen.done(err)
	return o.core.fail(ctx, "set", name, err)
}

// Delete is Cache.Delete for the call with args: it invalidates the result.
func (o *Op) Delete(ctx context.Context, args ...any) (existed bool, err error) {
	name, err := o.name("delete", args)
	if err != nil {
		return false, err
	}
	ctx, seen := o.core.begin(ctx, "delete", name, 1)
	existed, err = o.core.delete(ctx, name)
	seen.done(err)
	return existed, o.core.fail(ctx, "delete", name, err)
}

// Func0 caches fn, which takes no arguments, under op. See Func.
func Func0[R any](op *Op, fn func(context.Context) (R, error)) func(context.Context) (R, error) {
	return func(ctx context.Context) (R, error) { return call(ctx, op, fn) }
}

// Func caches fn under op: the function it returns calls fn only for arguments
// whose result is not stored yet, as GetOrLoad does. Programs that use the
// family's Python, Rust or TypeScript SDK under the same namespace, operation
// and arguments share the results.
func Func[A, R any](op *Op, fn func(context.Context, A) (R, error)) func(context.Context, A) (R, error) {
	return func(ctx context.Context, a A) (R, error) {
		return call(ctx, op, func(ctx context.Context) (R, error) { return fn(ctx, a) }, a)
	}
}

// Func2 is Func for functions of two arguments.
func Func2[A, B, R any](op *Op, fn func(context.Context, A, B) (R, error)) func(context.Context, A, B) (R, error) {
	return func(ctx context.Context, a A, b B) (R, error) {
		return call(ctx, op, func(ctx context.Context) (R, error) { return fn(ctx, a, b) }, a, b)
	}
}

// Func3 is Func for functions of three arguments.
func Func3[A, B, C, R any](op *Op, fn func(context.Context, A, B, C) (R, error)) func(context.Context, A, B, C) (R, error) {
	return func(ctx context.Context, a A, b B, c C) (R, error) {
		return call(ctx, op, func(ctx context.Context) (R, error) { return fn(ctx, a, b, c) }, a, b, c)
	}
}

func call[R any](ctx context.Context, op *Op, load func(context.Context) (R, error), args ...any) (R, error) {
	name, err := op.name("load", args)
	if err != nil {
		var zero R
		return zero, err
	}
	return loadAs(ctx, op.core, name, op.ttl, load)
}
