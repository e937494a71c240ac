package backends

import "context"

type writerKey struct{}

// WrittenBy returns a context for writes of whoever h drops copies for. A
// [Watcher] need not report such a write to h, which is to see to its own copies:
// none may be made of a read that was under way together with the write. If
// somebody else has written after it, that is reported.
func WrittenBy(ctx context.Context, h WatchHandler) context.Context {
	return context.WithValue(ctx, writerKey{}, h)
}

// Writer returns the handler that ctx was given by [WrittenBy], or nil.
func Writer(ctx context.Context) WatchHandler {
	h, _ := ctx.Value(writerKey{}).(WatchHandler)
	return h
}
