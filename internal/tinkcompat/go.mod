module github.com/cachekit-io/cachekit-go/internal/tinkcompat

go 1.26.0

require github.com/google/tink/go v1.7.0

require (
	golang.org/x/crypto v0.0.0-20220214200702-86341886e292 // indirect
	google.golang.org/protobuf v1.27.1 // indirect
)
